"""How fast events get from the journal to a plugin that returns at once."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.dispatching import Recorder, desk, gate, until
from tunewatch.clock import SystemClock

pytestmark = pytest.mark.bench

JOBS = 200
EACH = 100


class Counting:
    """A sink that takes everything at once."""

    def __init__(self) -> None:
        self.count = 0
        self.at: dict[str, float] = {}

    async def deliver(self, delivery) -> None:
        self.count += 1
        self.at[delivery.event.id] = time.perf_counter()


async def _fill(d) -> None:
    for first in range(0, JOBS, 20):
        looks = {
            f"ftjob-{n}": [f"message {i} of job {n}" for i in range(EACH)]
            for n in range(first, first + 20)
        }
        await d.tell_all(looks)


async def test_a_backlog_is_delivered_at_more_than_8000_events_a_second(tmp_path):
    async with desk(f"sqlite:///{tmp_path / 'state.db'}", SystemClock()) as d:
        async with d.dispatching(gate(Recorder(), clock=d.clock)):
            await d.tell("ftjob-0", "so that the mark is there")
        await _fill(d)
        sink = Counting()
        ops = gate(sink, clock=d.clock, concurrency=64)
        began = time.perf_counter()
        async with d.dispatching(ops):
            await until(lambda: sink.count >= JOBS * EACH)
            took = time.perf_counter() - began
        rate = JOBS * EACH / took
        print(f"\nbacklog: {rate:,.0f} deliveries/s")  # noqa: T201 - figures
        assert rate > 8000


async def test_fresh_commits_are_delivered_at_more_than_8000_events_a_second(tmp_path):
    async with desk(f"sqlite:///{tmp_path / 'state.db'}", SystemClock()) as d:
        sink = Counting()
        ops = gate(sink, clock=d.clock, concurrency=64)
        async with d.dispatching(ops) as dispatcher:
            await _fill(d)
            took_commit = time.perf_counter()
            before = sink.count
            await until(lambda: sink.count >= JOBS * EACH)
            took = time.perf_counter() - took_commit
            assert dispatcher.paused_reason is None
        rate = (JOBS * EACH - before) / took
        print(f"\nfresh: {rate:,.0f} deliveries/s after commit")  # noqa: T201


async def test_a_commit_reaches_the_plugin_within_10_ms_at_50_a_second(tmp_path):
    async with desk(f"sqlite:///{tmp_path / 'state.db'}", SystemClock()) as d:
        sink = Counting()
        ops = gate(sink, clock=d.clock)
        waits: list[float] = []
        async with d.dispatching(ops):
            for n in range(400):
                done = await d.tell(f"ftjob-{n % 20}", f"message {n}")
                committed = time.perf_counter()
                [ref] = [r for r in done.events if r.type.endswith("message")]
                await until(lambda ref=ref: ref.id in sink.at)
                waits.append(sink.at[ref.id] - committed)
                await asyncio.sleep(max(0.0, 0.02 - (time.perf_counter() - committed)))
        waits.sort()
        p50, p99 = waits[200], waits[395]
        print(f"\ncommit to call: p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms")  # noqa: T201
        assert p99 <= 0.010
