"""Pages of events: what is wanted, in order, and where it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete

from support.stores import T0, Desk, HandClock, message, open_desk, raw_job
from tunewatch.events import matcher
from tunewatch.store import schema
from tunewatch.store.event_pages import CLOCKS, MOST_EXAMINED, EventsWanted
from tunewatch.store.told import Spot

EVERYTHING = EventsWanted()


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    async with open_desk(store_url) as desk:
        yield desk


async def all_of(desk: Desk, wanted: EventsWanted, *, limit: int = 2, **options):
    """Read page after page; return the positions of all."""
    seen: list[int] = []
    after = options.pop("after", None)
    while True:
        page = await desk.store.reads.told(wanted, limit=limit, after=after, **options)
        seen += [event.position for event in page.events]
        if not page.has_more:
            return seen
        after = page.last.position


async def test_events_come_page_by_page_in_both_orders(desk):
    await desk.saw("a", raw=raw_job("a"), entries=[message(n) for n in range(4)])
    assert await all_of(desk, EVERYTHING) == [1, 2, 3, 4, 5, 6]
    assert await all_of(desk, EVERYTHING, newest_first=True) == [6, 5, 4, 3, 2, 1]
    assert await all_of(desk, EVERYTHING, after=4) == [5, 6]
    assert await all_of(desk, EVERYTHING, after=3, newest_first=True) == [2, 1]


async def test_events_are_chosen_by_source_job_and_type(desk):
    await desk.saw("a", raw=raw_job("a"), entries=(message(1),))
    second = await desk.saw("b", raw=raw_job("b"))
    keys = [second.job_key]
    for wanted, expected in (
        (EventsWanted(source="research"), [1, 2, 3, 4, 5]),
        (EventsWanted(source="nobody"), []),
        (EventsWanted(jobs=keys), [4, 5]),
        (EventsWanted(jobs=[]), []),
        (EventsWanted(is_type=matcher(["tunewatch.*"])), [1, 4]),
        (EventsWanted(jobs=keys, is_type=matcher(["@status"])), [5]),
    ):
        assert await all_of(desk, wanted) == expected, wanted


async def test_events_of_a_time_are_found_without_reading_what_was_before(desk):
    clock: HandClock = desk.clock
    for n in range(40):
        await desk.saw("a", raw=raw_job("a", step=n), entries=(message(n),))
        clock.advance(CLOCKS)
    started = 3  # the first look told of two more events
    since, before = T0 + 20 * CLOCKS, T0 + 25 * CLOCKS
    wanted = EventsWanted(since=since, before=before)
    expected = [started + n for n in range(20, 25)]
    assert await all_of(desk, wanted) == expected
    assert await all_of(desk, wanted, newest_first=True) == expected[::-1]
    assert await all_of(desk, EventsWanted(since=clock.now() + 1)) == []
    assert len(await all_of(desk, EventsWanted(since=0))) == 42
    assert await all_of(desk, EventsWanted(before=T0)) == []


async def test_a_place_holds_only_for_the_event_that_stands_there(desk):
    seen = await desk.saw("a", raw=raw_job("a"), entries=(message(1),))
    reads = desk.store.reads
    first, last = seen.events[0], seen.events[-1]
    assert await reads.newest_spot() == Spot(last.position, last.id)
    assert await reads.is_spot(Spot(first.position, first.id))
    assert not await reads.is_spot(Spot(first.position, last.id))
    assert not await reads.is_spot(Spot(999, last.id))
    await desk.store.carrier.write(lambda c: c.execute(delete(schema.event)))
    assert not await reads.is_spot(Spot(first.position, first.id))
    assert await reads.newest_spot() is None


async def test_a_page_of_rare_events_costs_no_more_than_another(tmp_path):
    async with open_desk(f"sqlite:///{tmp_path / 'large.db'}") as desk:
        hay = [message(n) for n in range(MOST_EXAMINED + 10)]
        await desk.saw("a", raw=raw_job("a"), entries=hay)
        wanted = EventsWanted(is_type=matcher(["@status"]))
        first = await desk.store.reads.told(wanted, limit=10)
        assert first.has_more
        assert await all_of(desk, wanted) == [MOST_EXAMINED + 12]


async def test_a_page_of_large_events_is_cut(desk):
    large = [message(n, "x" * 300_000) for n in range(120)]
    await desk.saw("a", raw=raw_job("a"), entries=large)
    page = await desk.store.reads.told(EVERYTHING, limit=1000)
    assert page.has_more
    assert len(page.events) < 122
    assert page.last.position == page.events[-1].position
    assert await all_of(desk, EVERYTHING, limit=1000) == list(range(1, 123))
