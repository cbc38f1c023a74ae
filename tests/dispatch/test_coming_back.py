"""Thousands of events that waited for a receiver are no flood when it is back.

The same with a hundred thousand, and what they take of memory, is a benchmark.
"""

from __future__ import annotations

from support.dispatching import desk
from support.returning import come_back

RATE, CONCURRENCY = 1000.0, 32


async def test_what_waited_ramps_up_within_the_rate_and_the_concurrency(store_url):
    async with desk(store_url) as d:
        sink = await come_back(d, jobs=200, each=25, rate=RATE, concurrency=CONCURRENCY)
        assert sink.count == 5001
        assert max(sink.levels) <= CONCURRENCY
        assert max(sink.levels) > CONCURRENCY // 2, "it does get going"
        # One at first, and never more than there were successes.
        assert all(out <= before + 1 for before, out in enumerate(sink.levels))
        assert RATE * 0.5 < sink.most_in_a_second() <= RATE * 1.05
        assert await d.rows("SELECT * FROM dead_letter") == []
