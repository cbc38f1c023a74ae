"""Looks of many sources are one transaction, and none does another harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from sqlalchemy import select

from support.stores import (
    REALM,
    Desk,
    HandClock,
    checkpoint,
    decode_job,
    message,
    metrics,
    open_desk,
    raw_job,
    statements_noted,
    told,
    types,
)
from tunewatch.diff import Observation
from tunewatch.store import schema
from tunewatch.store.journal import Journal
from tunewatch.store.opening import Store, open_store
from tunewatch.store.records import Committed, EventRef, Fence, JobFault, LeaseLost

MANY = 12


class Office:
    """A store with many sources, whose looks are committed at one moment."""

    def __init__(self, store: Store, held: list[Fence], clock: HandClock) -> None:
        self.store = store
        self.held = held
        self.clock = clock
        self.heard: list[EventRef] = []
        self.numbers = count(1)
        store.journal.listen(self.heard.extend)

    def look(self, job_id: str, **seen: Any) -> Observation:
        number = next(self.numbers)
        return Observation(job_id=job_id, look=number, at=self.clock.now(), **seen)

    async def at_once(
        self, *looks: tuple[Fence, Observation]
    ) -> list[Committed | JobFault | LeaseLost]:
        """Commit each look by a call of its own, all of them waiting together."""
        outcomes: dict[int, Any] = {}

        async def one(at: int, held: Fence, seen: Observation) -> None:
            try:
                [outcomes[at]] = await self.store.journal.commit(
                    held, [seen], decode=decode_job
                )
            except LeaseLost as fault:
                outcomes[at] = fault

        async with asyncio.TaskGroup() as tasks:
            for at, (held, seen) in enumerate(looks):
                tasks.create_task(one(at, held, seen), name=f"look:{at}")
        return [outcomes[at] for at in range(len(looks))]

    async def each_saw(self, **seen: Any) -> list[Any]:
        """Commit a look of every source at a job of its own."""
        return await self.at_once(
            *(
                (held, self.look(f"job-{at}", **seen))
                for at, held in enumerate(self.held)
            )
        )


@pytest.fixture
async def office(store_url: str) -> AsyncIterator[Office]:
    clock = HandClock()
    async with open_store(store_url, clock=clock, owner="one") as store:
        held = []
        for number in range(MANY):
            row = await store.sources.contact(f"source-{number}", "openai", REALM)
            lease = await store.leases.acquire(row.id)
            assert lease is not None
            held.append(lease)
        yield Office(store, held, clock)
        for lease in held:
            await store.leases.release(lease)


async def test_each_source_is_told_its_own_in_the_order_of_positions(office):
    # Of no source it is known what was told before: the first commits ask.
    await office.each_saw(raw=raw_job("x"))
    office.heard.clear()
    outcomes = await office.each_saw(entries=(message(1), metrics(2, 1, train_loss=1)))
    for held, outcome in zip(office.held, outcomes, strict=True):
        assert types(outcome.events) == [
            "fine_tuning.event.message",
            "fine_tuning.event.metrics",
        ]
        assert {ref.source_id for ref in outcome.events} == {held.source_id}
    assert sorted(office.heard) == sorted(
        ref for outcome in outcomes for ref in outcome.events
    )
    positions = [ref.position for ref in sorted(office.heard)]
    assert positions == list(range(positions[0], positions[0] + 2 * MANY))
    names = [event.common.source for event in told(office.heard[::2])]
    assert sorted(names) == sorted(f"source-{n}" for n in range(MANY))


async def test_what_is_known_of_one_job_is_not_taken_for_known_of_another(office):
    await office.each_saw(raw=raw_job("x"))
    first, second = office.held[:2]
    await office.at_once(
        (first, office.look("job-0", entries=(message(1), message(2)))),
        (second, office.look("job-1", checkpoints=(checkpoint(5),))),
    )
    again, other = await office.at_once(
        (first, office.look("job-0", entries=(message(1), message(3)))),
        (
            second,
            office.look("job-1", entries=(message(1),), checkpoints=(checkpoint(5),)),
        ),
    )
    said = [event.payload.event_id for event in told(again.events)]
    assert said == ["ev-3"]
    assert types(other.events) == ["fine_tuning.event.message"]


async def test_a_lease_that_is_lost_harms_only_its_source(office):
    await office.each_saw(raw=raw_job("x"))
    office.held[3] = Fence(office.held[3].source_id, office.held[3].token - 1)
    outcomes = await office.each_saw(entries=(message(1),))
    assert isinstance(outcomes.pop(3), LeaseLost)
    assert [len(outcome.events) for outcome in outcomes] == [1] * (MANY - 1)


async def test_a_job_that_cannot_be_read_harms_only_itself(office):
    outcomes = await office.at_once(
        (office.held[0], office.look("good", raw=raw_job("good"))),
        (office.held[1], office.look("bad", raw=b'{"id": "bad", "status": 7}')),
        (office.held[2], office.look("fine", raw=raw_job("fine"))),
    )
    assert [type(outcome) for outcome in outcomes] == [Committed, JobFault, Committed]


async def test_of_two_keys_that_see_one_new_job_at_one_moment_the_first_has_it(office):
    first, second = await office.at_once(
        (office.held[0], office.look("new", raw=raw_job("new"))),
        (office.held[1], office.look("new", raw=raw_job("new"))),
    )
    assert (first.outcome, second.outcome) == ("committed", "foreign")
    assert second.owner == "source-0"
    assert types(office.heard) == [
        "tunewatch.job.discovered",
        "fine_tuning.job.running",
    ]


async def test_one_id_in_two_realms_is_two_jobs(office):
    row = await office.store.sources.contact("elsewhere", "openai", "openai:other")
    held = await office.store.leases.acquire(row.id)
    here, there = await office.at_once(
        (office.held[0], office.look("same", raw=raw_job("same"))),
        (held, office.look("same", raw=raw_job("same", "failed"))),
    )
    assert (here.outcome, there.outcome) == ("committed", "committed")
    assert here.job_key != there.job_key
    later = await office.at_once(
        (held, office.look("same", entries=(metrics(1, 5, train_loss=0.5),))),
        (office.held[0], office.look("same", entries=(metrics(1, 5, train_loss=0.5),))),
    )
    assert [one.job_key for one in later] == [there.job_key, here.job_key]
    for name, status in (("elsewhere", "failed"), ("source-0", "running")):
        kept = await office.store.reads.snapshot(name, "same")
        assert (kept.job.status, len(kept.points)) == (status, 1), name
    await office.store.leases.release(held)


async def test_what_nobody_heard_of_is_told_once_with_its_own_source(office):
    await office.each_saw(raw=raw_job("x"))
    lone = Journal(office.store.carrier, clock=office.clock)
    unheard = office.look("job-1", entries=(message(1),))
    await lone.commit(office.held[1], [unheard], decode=decode_job)
    office.store.journal.doubt(office.held[1].source_id)
    office.heard.clear()
    await office.at_once(
        (office.held[0], office.look("job-0", entries=(message(7),))),
        (office.held[1], office.look("job-1", entries=(message(2),))),
        (office.held[1], office.look("job-1", entries=(message(3),))),
    )
    ids = [
        event.payload.event_id
        for event in told(office.heard)
        if event.common.source == "source-1"
    ]
    assert ids == ["ev-1", "ev-2", "ev-3"]


async def test_totals_are_each_sources_own(office):
    await office.each_saw(raw=raw_job("x"))
    await office.each_saw(entries=(message(1), message(2)))
    wanted = select(schema.counter.c.source_id, schema.counter.c.value).where(
        schema.counter.c.name == "events",
        schema.counter.c.labels == '{"type":"fine_tuning.event.message"}',
    )
    found = await office.store.carrier.read(lambda c: c.execute(wanted).all())
    assert sorted(tuple(row) for row in found) == [
        (held.source_id, 2.0) for held in office.held
    ]


async def test_many_sources_ask_the_file_no_more_than_one_does(tmp_path):
    """On SQLite a statement is what costs: the looks of a moment share them."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with open_desk(url) as desk:
        alone = await _asked(desk, 1)
        many = await _asked(desk, MANY)
    assert alone == many


async def _asked(desk: Desk, sources: int) -> int:
    store, held = desk.store, []
    for number in range(sources):
        row = await store.sources.contact(f"{sources}-{number}", "openai", REALM)
        held.append(await store.leases.acquire(row.id))
    office = Office(store, held, desk.clock)
    names = [f"{sources}-job-{number}" for number in range(sources)]
    pairs = list(zip(held, names, strict=True))
    await office.at_once(*((of, office.look(n, raw=raw_job(n))) for of, n in pairs))
    # All are made before the writer's turn comes.
    with statements_noted() as given:
        await office.at_once(
            *((of, office.look(n, entries=(message(1),))) for of, n in pairs)
        )
    for lease in held:
        await store.leases.release(lease)
    return len([one for one, _ in given if "BEGIN" not in one])


async def test_who_listens_to_one_source_hears_of_it_and_of_no_other(office):
    mine: list[EventRef] = []
    source_id = office.held[3].source_id
    unlisten = office.store.journal.listen(mine.extend, source_id=source_id)
    await office.each_saw(raw=raw_job("job-3"))
    assert mine == [ref for ref in office.heard if ref.source_id == source_id]
    assert {ref.source_id for ref in office.heard} > {source_id}
    assert mine
    unlisten()
    heard = list(mine)
    await office.each_saw(entries=(message(1),))
    assert mine == heard
