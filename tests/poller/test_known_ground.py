"""What a walk over events takes for known without asking the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewatch.model import Entry
from tunewatch.poller.walk import EntryWalk
from tunewatch.sources.contract import Page, Unreadable
from tunewatch.sources.openai.decode import entry_of
from tunewatch.sources.openai.pages import read_late


class Job:
    """A job's events as its provider lists them, and a store that takes them in."""

    def __init__(self, *, is_late: bool = True, is_ascending: bool = False) -> None:
        self.listed: list[dict[str, Any]] = []  # newest first
        self.committed: list[str] = []
        self.asked = 0  #: times that the store was asked
        self.ground = b""
        self.is_late = is_late
        self.is_ascending = is_ascending
        self._numbers = count(1)

    def goes_on(self, events: int) -> None:
        for number in (next(self._numbers) for _ in range(events)):
            self.listed.insert(
                0, {"id": f"ftevent-{number}", "created_at": number, "message": "x"}
            )

    async def entries(self, _job: str, after: str | None, limit: int) -> Page[Entry]:
        listed = self.listed[::-1] if self.is_ascending else self.listed
        ids = [item["id"] for item in listed]
        first = 0 if after is None else ids.index(after) + 1
        data = listed[first : first + limit]
        more = first + limit < len(listed)
        body = msgspec.json.encode({"data": data, "has_more": more})
        page = read_late(body, self.entry_of, after=after, limit=limit)
        if self.is_late:
            return page
        return msgspec.structs.replace(page, items=tuple(page.items), ids=None)

    def entry_of(self, raw: bytes) -> Entry:
        return entry_of(raw)

    async def look(self, brought: int | None = None) -> list[str]:
        """Walk, commit what is new, and return it."""

        async def known(ids: Sequence[str]) -> set[str]:
            self.asked += 1
            return set(self.committed).intersection(ids)

        walk = EntryWalk(self, "ftjob-1", known, brought=brought, ground=self.ground)  # type: ignore[arg-type]
        found = [entry.id for entry in await walk.finish()]
        self.committed += found
        self.ground = walk.ground or self.ground
        return found


def ids(first: int, last: int) -> list[str]:
    return [f"ftevent-{number}" for number in range(first, last + 1)]


@pytest.mark.parametrize("is_late", [True, False])
async def test_a_look_that_meets_what_the_last_one_met_asks_the_store_for_nothing(
    is_late,
):
    job = Job(is_late=is_late)
    job.goes_on(30)
    assert await job.look() == ids(1, 30)
    assert job.asked == 1
    job.goes_on(3)
    assert await job.look(brought=30) == ids(31, 33)
    assert await job.look(brought=3) == []
    job.goes_on(4)
    assert await job.look(brought=0) == ids(34, 37)
    assert job.asked == 1


async def test_of_a_page_that_ends_on_known_ground_only_the_news_are_read():
    read: list[bytes] = []

    class Counted(Job):
        def entry_of(self, raw: bytes) -> Entry:
            read.append(raw)
            return entry_of(raw)

    job = Counted()
    job.goes_on(30)
    await job.look()
    job.goes_on(3)
    read.clear()
    assert await job.look(brought=3) == ids(31, 33)
    assert len(read) == 3


async def test_after_a_restart_the_store_is_asked_again():
    job = Job()
    job.goes_on(30)
    await job.look()
    job.ground = b""
    job.goes_on(2)
    assert await job.look(brought=2) == ids(31, 32)
    assert job.asked == 2


async def test_more_news_than_a_page_holds_are_read_on_and_asked_for():
    job = Job()
    job.goes_on(40)
    await job.look()
    job.goes_on(150)
    assert await job.look(brought=0) == ids(41, 190)
    assert job.asked > 2


async def test_a_list_that_is_oldest_first_is_never_taken_for_known():
    job = Job(is_ascending=True)
    job.goes_on(30)
    assert await job.look() == ids(1, 30)
    job.goes_on(90)
    assert await job.look() == ids(31, 120)
    assert job.ground == b""


async def test_an_event_that_vanishes_breaks_the_row_and_the_store_is_asked():
    job = Job()
    job.goes_on(40)
    await job.look()
    del job.listed[5]
    job.goes_on(1)
    assert await job.look(brought=1) == ids(41, 41)
    assert job.asked == 2


async def test_an_event_that_can_be_named_and_not_read_costs_none_of_the_others():
    job = Job()
    job.goes_on(5)
    page = await job.entries("ftjob-1", None, 10)

    class Odd(tuple[Entry, ...]):
        __slots__ = ()

        def __getitem__(self, place: Any) -> Any:
            if place == 2:
                raise Unreadable("nested too deeply")
            return super().__getitem__(place)

    odd = msgspec.structs.replace(page, items=Odd(page.items), ids=page.ids)

    async def entries(*_: Any) -> Page[Entry]:
        return odd

    job.entries = entries  # type: ignore[method-assign]
    assert await job.look() == [*ids(1, 2), *ids(4, 5)]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 130), min_size=1, max_size=12),
    st.booleans(),
)
def test_whatever_comes_between_looks_each_event_is_found_once_and_in_order(
    steps, is_late
):
    job, brought = Job(is_late=is_late), None
    for events in steps:
        job.goes_on(events)
        brought = len(asyncio.run(job.look(brought)))
        assert brought == events
    assert job.committed == [item["id"] for item in reversed(job.listed)]
    assert job.asked <= 3 * len(steps)
