"""Reading: lists, windows, snapshots, events, backlogs, from one state each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert

from support.stores import (
    REALM,
    T0,
    Desk,
    checkpoint,
    decode_job,
    message,
    metrics,
    open_desk,
    raw_job,
    types,
)
from tunewatch.plugin import Derived
from tunewatch.store import schema
from tunewatch.store.journal import append_derived
from tunewatch.store.searching import MOST_EXAMINED, JobsWanted


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    async with open_desk(store_url) as desk:
        yield desk


async def test_jobs_are_listed_newest_first_in_pages(desk):
    for n in range(5):
        await desk.saw(f"j{n}", raw=raw_job(f"j{n}", created_at=int(T0) + n // 2))
    reads = desk.store.reads
    seen: list[str] = []
    after = None
    while True:
        page = await reads.jobs(limit=2, after=after)
        seen += [row.job.id for row in page.rows]
        after = page.next
        if not page.has_more:
            break
    assert seen == ["j4", "j3", "j2", "j1", "j0"]


async def test_jobs_are_filtered(desk):
    family = {"suffix": "fr", "metadata": {"team": "x", "run": "7"}}
    await desk.saw("a", raw=raw_job("a", model="gpt-4.1-nano", **family))
    ended = raw_job("b", "failed", created_at=int(T0) + 5, finished_at=int(T0) + 60)
    await desk.saw("b", raw=ended, silent=True)
    await choose(desk, "a", "provisional")
    reads = desk.store.reads
    for filters, expected in (
        ({"status": "failed"}, ["b"]),
        ({"settled": False}, ["a"]),
        ({"settled": True}, ["b"]),
        ({"source": "research"}, ["b", "a"]),
        ({"source": "nobody"}, []),
        ({"model": "gpt-4.1-nano"}, ["a"]),
        ({"model": "gpt-4.?-*"}, ["a"]),
        ({"suffix": "fr"}, ["a"]),
        ({"suffix": "f"}, []),
        ({"metadata": {"team": "x"}}, ["a"]),
        ({"metadata": {"team": "x", "run": "8"}}, []),
        ({"decision": "provisional"}, ["a"]),
        ({"decision": "final"}, []),
        ({"decision": "none"}, ["b"]),
        ({"created_since": int(T0) + 5}, ["b"]),
        ({"created_before": int(T0) + 5}, ["a"]),
        ({"finished_since": int(T0) + 60}, ["b"]),
        ({"finished_since": int(T0) + 61}, []),
        ({"finished_before": int(T0) + 61}, ["b"]),
        ({"finished_before": int(T0) + 60}, []),
    ):
        page = await reads.jobs(JobsWanted(**filters))
        assert [row.job.id for row in page.rows] == expected, filters


async def test_a_page_of_jobs_that_are_rare_costs_no_more_than_another(tmp_path):
    async with open_desk(f"sqlite:///{tmp_path / 'large.db'}") as desk:
        await desk.saw("needle", raw=raw_job("needle", suffix="rare", created_at=1))
        hay = [
            desk.look(f"j{n}", raw=raw_job(f"j{n}", created_at=2 + n), silent=True)
            for n in range(MOST_EXAMINED + 1)
        ]
        await desk.commit(*hay)
        reads, wanted = desk.store.reads, JobsWanted(suffix="rare")
        first = await reads.jobs(wanted, limit=1)
        assert (first.rows, first.has_more) == ([], True)
        second = await reads.jobs(wanted, limit=1, after=first.next)
    assert [row.job.id for row in second.rows] == ["needle"]
    assert not second.has_more


async def test_a_row_tells_where_a_job_is(desk):
    await desk.saw(
        "a",
        raw=raw_job("a"),
        entries=(metrics(1, 5, train_loss=0.5), metrics(2, 6, valid_loss=0.4)),
    )
    [row] = (await desk.store.reads.jobs()).rows
    assert (row.source, row.realm, row.step) == ("research", REALM, 6)
    assert row.latest == {"train_loss": 0.5, "valid_loss": 0.4}
    assert row.last_event_at == int(T0) + 2


async def test_a_job_known_to_two_realms_is_found_twice(desk):
    await desk.saw("a", raw=raw_job("a"))
    other = await desk.store.sources.contact("azure", "azure", "azure:https://x")
    held = await desk.store.leases.acquire(other.id)
    look = desk.look("a", raw=raw_job("a", "failed"))
    await desk.store.journal.commit(held, [look], decode=decode_job)
    found = await desk.store.reads.find("a")
    assert [(one.source, one.row.job.status) for one in found] == [
        ("research", "running"),
        ("azure", "failed"),
    ]
    [only] = await desk.store.reads.find("a", source="azure")
    assert only.row.job.status == "failed"
    snapshot = await desk.store.reads.snapshot("azure", "a")
    assert snapshot.realm == "azure:https://x"


async def test_a_snapshot_holds_everything_of_one_revision(desk):
    await desk.saw(
        "a",
        raw=raw_job("a"),
        entries=(metrics(1, 1, train_loss=0.5),),
        checkpoints=(checkpoint(2, full_valid_loss=0.3), checkpoint(1)),
    )
    snapshot = await desk.store.reads.snapshot("research", "a")
    assert snapshot.revision == 1
    assert [point.values for point in snapshot.points] == [{"train_loss": 0.5}]
    assert [one.step for one in snapshot.checkpoints] == [1, 2]
    assert snapshot.selection is None
    assert await desk.store.reads.snapshot("research", "nobody") is None
    assert await desk.store.reads.snapshot("nobody", "a") is None


async def choose(desk: Desk, job_id: str, decision: str) -> None:
    [found] = await desk.store.reads.find(job_id)
    data = {
        "checkpoint": {"id": f"best of {job_id}"},
        "decision": decision,
        "metric": "full_valid_loss",
        "goal": "minimize",
        "value": 0.5,
        "reason": "the lowest",
        "candidates": [],
        "previous": None,
    }
    derived = Derived(type="tunewatch.checkpoint.selected", data=data)
    await desk.store.carrier.write(
        lambda connection: append_derived(
            connection,
            desk.held,
            found.key,
            found.row.revision,
            f"cause of {job_id}",
            "best_checkpoint",
            [derived],
        )
    )


async def test_events_are_read_by_position_job_and_type(desk):
    first = await desk.saw("a", raw=raw_job("a"), entries=(message(1),))
    second = await desk.saw("b", raw=raw_job("b"))
    reads = desk.store.reads
    everything = await reads.events()
    assert [event.position for event in everything] == [1, 2, 3, 4, 5]
    after = await reads.events(after=3, limit=1)
    assert [event.position for event in after] == [4]
    of_job = await reads.events(job_key=second.job_key)
    assert types(of_job) == types(second.events)
    messages = await reads.events(types=["fine_tuning.event.message"])
    assert [event.id for event in messages] == [first.events[1].id]
    assert await reads.events(source="nobody") == []
    assert (await reads.event(first.events[0].id)).position == 1
    assert await reads.event("evt_nothing") is None
    assert await reads.positions() == (1, 5)


async def test_backlogs_and_dead_letters_are_counted(desk):
    seen = await desk.saw("a", raw=raw_job("a"), entries=(message(1),))

    def fill(connection) -> None:
        mark = {"plugin": "ops", "source_id": desk.source.id, "position": 1}
        mark |= {"in_flight": b"[2]", "last_used_at": 0.0}
        connection.execute(insert(schema.mark).values(mark))
        letter = {"plugin": "ops", "source_id": desk.source.id}
        letter |= {"job_key": seen.job_key, "first_position": 1, "last_position": 1}
        letter |= {"first_sequence": 1, "last_sequence": 1, "tries": 5}
        letter |= {"event_id": seen.events[0].id, "reason": "no", "at": T0}
        connection.execute(insert(schema.dead_letter).values(letter))

    await desk.store.carrier.write(fill)
    reads = desk.store.reads
    [waits] = await reads.backlog()
    assert (waits.plugin, waits.source, waits.position) == ("ops", "research", 1)
    assert (waits.pending, waits.in_flight, waits.dead_letters) == (2, 1, 1)
    assert waits.oldest_at == T0
    [capped] = await reads.backlog(at_most=1)
    assert capped.pending == 1
    [letter] = await reads.deliveries.dead_letters(plugin="ops")
    assert (letter.job_id, letter.event_type) == ("a", "tunewatch.job.discovered")
    assert await reads.deliveries.dead_letters(after=letter.id) == []
    assert await reads.deliveries.dead_letters(plugin="nobody") == []


async def test_an_empty_store_answers_everything(desk):
    reads = desk.store.reads
    assert await reads.positions() == (0, 0)
    assert await reads.events() == []
    assert await reads.counts() == []
    assert await reads.backlog() == []
    assert await reads.plugins() == []
    assert await reads.deliveries.dead_letters() == []
    assert [row.name for row in await reads.sources()] == ["research"]
