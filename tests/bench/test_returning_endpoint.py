"""A hundred thousand events behind an endpoint that comes back: no flood, no memory."""

from __future__ import annotations

import tracemalloc

import pytest

from support.dispatching import desk
from support.returning import come_back

pytestmark = pytest.mark.bench

RATE, CONCURRENCY = 2000.0, 64
MOST = 24 * 2**20
"""Bytes that all of it may take at its peak, the cache of fresh events included."""


@pytest.mark.timeout(900)
async def test_a_hundred_thousand_waiting_events_ramp_up_without_a_flood(store_url):
    async with desk(store_url) as d:
        tracemalloc.start()
        sink = await come_back(
            d, jobs=1000, each=100, rate=RATE, concurrency=CONCURRENCY
        )
        noted = sum(len(each) * 8 for each in (sink.calls, sink.levels)) * 4
        peak = tracemalloc.get_traced_memory()[1] - noted
        tracemalloc.stop()
        took = sink.calls[-1] - sink.calls[0]
        print(  # noqa: T201 - figures
            f"\n100,000 events in {took:.0f} s of their own time, at most "
            f"{sink.most_in_a_second():,} in any second, {max(sink.levels)} at once, "
            f"peak {peak / 2**20:.1f} MiB"
        )
        assert max(sink.levels) <= CONCURRENCY
        assert sink.most_in_a_second() <= RATE * 1.05
        assert peak < MOST
