"""New names for sources: everything goes on, once, and nobody under the old one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.stores import REALM, Desk, message, open_desk, raw_job
from tunewatch.events import SourceDown, SourceUp
from tunewatch.store.records import LeaseLost, StoreUnusable


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    async with open_desk(store_url) as desk:
        yield desk


async def names(desk: Desk) -> dict[str, int]:
    return {row.name: row.id for row in await desk.store.sources.all()}


async def contact(desk: Desk, name: str) -> int:
    return (await desk.store.sources.contact(name, "openai", REALM)).id


async def test_a_renamed_source_keeps_all_it_has(desk):
    await desk.saw("a", raw=raw_job("a"))
    renamed = await desk.store.sources.rename({"science": "research"})
    assert (renamed.moved, renamed.missing) == ({"science": "research"}, {})
    assert await names(desk) == {"science": desk.source.id}
    assert await contact(desk, "science") == desk.source.id
    desk.held = await desk.store.leases.acquire(desk.source.id)
    seen = await desk.saw("a", entries=(message(1),))
    assert b'"source":"science"' in seen.events[0].body


async def test_the_setting_may_stay_in_the_file(desk):
    rename = desk.store.sources.rename
    await rename({"science": "research"})
    assert await rename({"science": "research"}) == ({}, {})
    # Not even a source that gets the old name later is touched.
    reused = await contact(desk, "research")
    assert await rename({"science": "research"}) == ({}, {})
    assert await names(desk) == {"science": desk.source.id, "research": reused}


async def test_whoever_has_the_source_loses_it_before_anything_moves(desk):
    await desk.saw("a", raw=raw_job("a"))
    await desk.store.sources.rename({"science": "research"})
    with pytest.raises(LeaseLost):
        await desk.saw("a", entries=(message(1),))
    assert await desk.store.leases.renew([desk.held]) == set()
    again = await desk.store.leases.acquire(desk.source.id)
    assert again is not None
    assert again.token > desk.held.token


async def test_a_name_after_a_name_after_a_name(desk):
    rename = desk.store.sources.rename
    for new, old in (("b", "research"), ("c", "b"), ("d", "c")):
        assert (await rename({new: old})).moved == {new: old}
    assert await names(desk) == {"d": desk.source.id}
    # Whichever of them the file still names.
    for old in ("research", "b", "c"):
        assert await rename({"d": old}) == ({}, {})


async def test_a_name_that_is_given_up_can_be_taken_in_the_same_go(desk):
    first, second = desk.source.id, await contact(desk, "b")
    for wishes in ({"b": "research", "c": "b"}, {"c": "b", "b": "research"}):
        await desk.store.sources.rename(wishes)
        assert await names(desk) == {"b": first, "c": second}


async def test_a_name_that_is_taken_cannot_be_renamed_to_and_nothing_moves(desk):
    await contact(desk, "science")
    await contact(desk, "old")
    before = await names(desk)
    with pytest.raises(
        StoreUnusable, match=r"sources\.science is renamed_from 'research'"
    ):
        await desk.store.sources.rename({"new": "old", "science": "research"})
    assert await names(desk) == before


async def test_an_exchange_of_names_would_happen_at_each_start_and_is_refused(desk):
    await contact(desk, "b")
    before = await names(desk)
    with pytest.raises(StoreUnusable):
        await desk.store.sources.rename({"b": "research", "research": "b"})
    assert await names(desk) == before


async def test_a_former_name_that_nobody_knows_is_told(desk):
    renamed = await desk.store.sources.rename({"new": "reserch"})
    assert (renamed.moved, renamed.missing) == ({}, {"new": "reserch"})
    await contact(desk, "new")
    assert await desk.store.sources.rename({"new": "reserch"}) == ({}, {})


async def test_a_source_that_is_down_is_down_under_its_new_name_and_knows_the_old(desk):
    tell, sources = desk.store.journal.source_event, desk.store.sources
    down = SourceDown(reason="401", since="2026-01-01T00:00:00Z")
    await tell(desk.held, down)
    await sources.rename({"science": "research"})
    assert (await sources.state(desk.source.id)).down
    desk.held = await desk.store.leases.acquire(desk.source.id)
    assert await tell(desk.held, down) == []
    up = SourceUp(reason="back", since="2026-01-01T00:00:00Z")
    (event,) = await tell(desk.held, up)
    assert b'"source":"science"' in event.body
    state = await sources.state(desk.source.id)
    assert state.former == ("research",)


async def test_replicas_that_start_together_rename_once(desk):
    rename = desk.store.sources.rename
    async with asyncio.TaskGroup() as tasks:
        renaming = [
            tasks.create_task(rename({"science": "research"}), name=f"rename-{n}")
            for n in range(5)
        ]
    moved = [task.result().moved for task in renaming]
    assert sorted(moved, key=len) == [{}, {}, {}, {}, {"science": "research"}]
    assert await names(desk) == {"science": desk.source.id}
