"""Forgetting: in small chunks, never what a plugin still needs, with a tombstone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, func, insert, select, update

from support.stores import (
    REALM,
    Desk,
    checkpoint,
    message,
    metrics,
    open_desk,
    raw_job,
    types,
)
from tunewatch.store import schema
from tunewatch.store.records import LeaseLost

MONTH = 30 * 86_400.0


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    async with open_desk(store_url) as desk:
        yield desk


async def settled(desk: Desk, job_id: str, entries: int = 3) -> None:
    raw = raw_job(job_id, "succeeded", finished_at=int(desk.clock.now()))
    said = [metrics(n, n, train_loss=0.5) for n in range(entries)]
    await desk.saw(job_id, raw=raw, entries=tuple(said), checkpoints=(checkpoint(1),))
    done = await desk.saw(job_id, raw=raw, complete=True, quiet_for=100.0)
    assert types(done.events) == ["tunewatch.job.settled"]


async def set_mark(desk: Desk, plugin: str, position: int) -> None:
    def write(connection: Connection) -> None:
        moved = connection.execute(
            update(schema.mark)
            .where(schema.mark.c.plugin == plugin)
            .values(position=position)
        )
        if not moved.rowcount:
            connection.execute(
                insert(schema.mark).values(
                    plugin=plugin,
                    source_id=desk.source.id,
                    position=position,
                    in_flight=b"[]",
                    last_used_at=desk.clock.now(),
                )
            )

    await desk.store.carrier.write(write)


async def count(desk: Desk, table: str) -> int:
    statement = select(func.count()).select_from(schema.metadata.tables[table])
    found: int = await desk.store.carrier.read(lambda c: c.scalar(statement))
    return found


async def purge(desk: Desk, **how):
    values = {"older_than": MONTH, "plugins": ["ops"], **how}
    return await desk.store.retention.purge(desk.held, **values)


async def test_what_is_old_goes_and_leaves_a_tombstone(desk):
    await settled(desk, "old")
    desk.clock.advance(2 * MONTH)
    await settled(desk, "young")
    purged = await purge(desk)
    assert (purged.events, purged.jobs) == (5, 1)
    page = await desk.store.reads.jobs()
    assert [row.job.id for row in page.rows] == ["young"]
    assert [await count(desk, name) for name in ("point", "entry")] == [3, 3]
    known = await desk.store.sources.known_jobs(REALM, ["old"])
    assert (known["old"].key, known["old"].status) == (0, "succeeded")
    again = await desk.saw("old", raw=raw_job("old", "running"))
    assert again.outcome == "tombstone"


async def test_nothing_that_a_plugin_still_needs_is_removed(desk):
    await settled(desk, "old")
    desk.clock.advance(2 * MONTH)
    await set_mark(desk, "ops", 2)
    purged = await purge(desk)
    assert (purged.events, purged.jobs) == (2, 0)
    assert [e.position for e in await desk.store.reads.events()] == [3, 4, 5]
    await set_mark(desk, "ops", 5)
    assert (await purge(desk)).jobs == 1


async def test_a_plugin_that_left_long_ago_holds_nothing_back(desk):
    await settled(desk, "old")
    await set_mark(desk, "gone", 0)
    desk.clock.advance(MONTH + 1)
    assert (await purge(desk)).events == 5


async def test_a_plugin_that_may_return_holds_its_events(desk):
    await settled(desk, "old")
    desk.clock.advance(MONTH + 1)
    await set_mark(desk, "away", 0)
    assert (await purge(desk)).events == 0


async def test_a_job_that_is_not_settled_stays_however_old(desk):
    await desk.saw("paused", raw=raw_job("paused", "paused"), entries=(message(1),))
    desk.clock.advance(12 * MONTH)
    assert (await purge(desk)).jobs == 0
    assert len((await desk.store.reads.jobs()).rows) == 1


async def test_it_stops_when_told_and_goes_on_later(desk):
    await settled(desk, "big", entries=1200)
    desk.clock.advance(2 * MONTH)
    first = await purge(desk, most=3)
    assert 0 < first.rows <= 3 * 500 + 1
    assert len((await desk.store.reads.jobs()).rows) == 1
    rest = await purge(desk)
    assert rest.jobs == 1
    assert [await count(desk, name) for name in ("point", "entry", "job")] == [0, 0, 0]


async def test_only_the_owner_of_a_source_forgets(desk):
    with pytest.raises(LeaseLost):
        await desk.store.retention.purge(
            desk.held._replace(token=0), older_than=MONTH, plugins=[]
        )
