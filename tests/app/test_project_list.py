"""The list of projects: asked for now and then, kept while it cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.watching import until
from tunewatch.app.project_list import REQUESTS_PER_MINUTE, SOON, ProjectList
from tunewatch.clock import FastClock
from tunewatch.sources.contract import (
    Page,
    Project,
    Refused,
    SourceFault,
    Unavailable,
    Unreadable,
)


class Admin:
    """An admin API that answers from memory, or raises what it is told to."""

    def __init__(self, clock: FastClock, count: int = 3) -> None:
        self.clock = clock
        self.count = count
        self.fault: SourceFault | None = None
        self.asked: list[float] = []
        self.loops = False

    async def list_projects(self, *, after: str | None, limit: int) -> Page[Project]:
        self.asked.append(self.clock.monotonic())
        if self.fault is not None:
            raise self.fault
        first = 0 if after is None or self.loops else int(after) + 1
        last = min(first + limit, self.count)
        items = tuple(Project(id=f"proj_{n}") for n in range(first, last))
        more = self.loops or last < self.count
        return Page(items=items, cursor=str(last - 1) if more else None)


@asynccontextmanager
async def listing(
    admin: Admin, *, every: float = 300.0, keys: list[str] | None = None
) -> AsyncIterator[ProjectList]:
    held = keys if keys is not None else ["sk-admin"]
    made = ProjectList(
        organization="acme",
        every=every,
        key=lambda: held[0],
        clock=admin.clock,
        jitter=lambda: 0.5,
    )
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(made.keep(admin), name="keep")
        yield made
        task.cancel()


@pytest.fixture
def admin():
    return Admin(FastClock(300.0))


async def test_the_whole_list_is_read_page_by_page_within_its_budget(admin):
    admin.count = 1050
    async with listing(admin) as made:
        await until(lambda: made.projects is not None, what="the list")
    assert len(made.projects) == 1050
    assert len(admin.asked) == 11
    window = [at for at in admin.asked if at <= admin.asked[0] + 60]
    assert len(window) <= REQUESTS_PER_MINUTE + 1


async def test_it_is_asked_for_again_at_its_interval(admin):
    async with listing(admin) as made:
        await until(lambda: len(admin.asked) >= 3, what="three lists")
        assert set(made.projects) == {"proj_0", "proj_1", "proj_2"}
    gaps = [b - a for a, b in zip(admin.asked, admin.asked[1:], strict=False)]
    assert all(gap >= 290 for gap in gaps)


async def test_an_urgent_wish_is_granted_soon_and_not_at_once_again(admin):
    async with listing(admin, every=3600.0) as made:
        await until(lambda: made.projects is not None, what="the list")
        for _ in range(200):
            made.want()
            await asyncio.sleep(0.001)
        passed = admin.clock.monotonic() - admin.asked[0]
    assert 2 <= len(admin.asked) <= passed / SOON + 2


@pytest.mark.parametrize(
    "fault", [Refused("401"), Unavailable("503"), Unreadable("html")], ids=str
)
async def test_while_it_cannot_be_had_the_last_one_stays(admin, fault):
    async with listing(admin) as made:
        await until(lambda: made.projects is not None, what="the list")
        admin.fault = fault
        await until(lambda: made.failures, what="a failure")
        assert len(made.projects) == 3
        assert (made.reason, made.is_refused) == (
            fault.reason,
            isinstance(fault, Refused),
        )
        assert made.since is not None
        admin.fault, admin.count = None, 4
        await until(lambda: len(made.projects) == 4, what="the list again")
        assert (made.failures, made.reason, made.since) == (0, None, None)


async def test_a_refused_key_is_tried_once_a_minute_and_a_new_one_at_once(admin):
    keys, admin.fault = ["sk-old"], Refused("401")
    async with listing(admin, keys=keys) as made:
        await until(lambda: len(admin.asked) >= 3, what="three tries")
        gaps = [b - a for a, b in zip(admin.asked, admin.asked[1:], strict=False)]
        assert all(gap >= 59 for gap in gaps)
        admin.fault, keys[0] = None, "sk-new"
        exchanged = admin.clock.monotonic()
        await until(lambda: made.projects is not None, what="the list")
        assert admin.asked[-1] - exchanged < 30


async def test_what_the_api_asks_for_is_granted(admin):
    admin.fault = Unavailable("429", after=900.0)
    async with listing(admin):
        await until(lambda: len(admin.asked) >= 2, what="two tries")
    assert admin.asked[1] - admin.asked[0] >= 899


async def test_a_list_without_end_is_a_fault_and_no_list(admin):
    admin.loops = True
    async with listing(admin) as made:
        await until(lambda: made.failures, what="a failure")
        assert made.projects is None
        assert "repeats its cursor" in made.reason
