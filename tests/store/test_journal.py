"""Observations become state and events: nothing lost, nothing invented, in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text, update

from support.stores import (
    REALM,
    T0,
    Desk,
    HandClock,
    checkpoint,
    decode_job,
    message,
    metrics,
    open_desk,
    raw_job,
    told,
    types,
)
from tunewatch.events import SourceDown, SourceUp
from tunewatch.model import MetricPoint
from tunewatch.plugin import Derived
from tunewatch.store import schema
from tunewatch.store.journal import append_derived
from tunewatch.store.records import Committed, Fence, JobFault, LeaseLost


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    async with open_desk(store_url) as desk:
        yield desk


async def test_a_first_look_is_told_in_order(desk):
    seen = await desk.saw(
        "a",
        raw=raw_job("a", metadata={"team": "x"}),
        entries=(message(1), metrics(2, 1, train_loss=0.5)),
        checkpoints=(checkpoint(1),),
    )
    assert types(seen.events) == [
        "tunewatch.job.discovered",
        "fine_tuning.event.message",
        "fine_tuning.event.metrics",
        "fine_tuning.checkpoint.created",
        "fine_tuning.job.running",
    ]
    assert [ref.position for ref in seen.events] == [1, 2, 3, 4, 5]
    sequences = [event.common.sequence for event in told(seen.events)]
    assert sequences == list(range(int(T0 * 1000), int(T0 * 1000) + 5))
    assert {ref.metadata for ref in seen.events} == {b'{"team":"x"}'}
    assert desk.heard == list(seen.events)


async def test_the_same_look_again_tells_nothing(desk):
    look = desk.look("a", raw=raw_job("a"), entries=(message(1),))
    await desk.commit(look)
    [again] = await desk.commit(look)
    assert isinstance(again, Committed)
    assert (again.outcome, again.events) == ("committed", ())


async def test_an_event_is_the_same_bytes_in_the_store_and_to_its_listeners(desk):
    seen = await desk.saw("a", raw=raw_job("a"))
    kept = await desk.store.reads.events()
    assert [event.body for event in kept] == [ref.body for ref in seen.events]
    assert [event.id for event in kept] == [ref.id for ref in seen.events]


async def test_a_look_older_than_the_last_committed_is_dropped(desk):
    old = desk.look("a", raw=raw_job("a", "queued"))
    await desk.saw("a", raw=raw_job("a", "running"))
    [late] = await desk.commit(old)
    assert late.outcome == "stale"
    assert late.job.status == "running"


async def test_a_look_that_changed_nothing_still_makes_older_ones_stale(desk):
    await desk.saw("a", raw=raw_job("a", "running"))
    old = desk.look("a", raw=raw_job("a", "failed"))
    await desk.saw("a", raw=raw_job("a", "running"))
    [late] = await desk.commit(old)
    assert late.outcome == "stale"


async def test_the_parts_of_one_look_may_share_its_number(desk):
    first = desk.look("a", raw=raw_job("a"), entries=(message(1),), partial=True)
    rest = desk.look("a", raw=raw_job("a"), entries=(message(2),), look=first.look)
    outcomes = await desk.commit(first, rest)
    assert [one.outcome for one in outcomes] == ["committed", "committed"]
    assert types(desk.heard) == [
        "tunewatch.job.discovered",
        "fine_tuning.event.message",
        "fine_tuning.event.message",
        "fine_tuning.job.running",
    ]


async def test_many_jobs_of_one_page_are_told_each_in_its_order(desk):
    looks = [
        desk.look(f"j{n}", raw=raw_job(f"j{n}"), entries=(message(1), message(2)))
        for n in range(20)
    ]
    outcomes = await desk.commit(*looks)
    assert [one.job_id for one in outcomes] == [f"j{n}" for n in range(20)]
    assert len({one.job_key for one in outcomes}) == 20
    assert [ref.position for ref in desk.heard] == list(range(1, 81))
    for one in outcomes:
        assert types(one.events)[0] == "tunewatch.job.discovered"
        assert types(one.events)[-1] == "fine_tuning.job.running"


async def test_what_an_answer_does_not_say_stays(desk):
    await desk.saw("a", raw=raw_job("a", suffix="fr", seed=7))
    seen = await desk.saw("a", raw=raw_job("a", suffix="", seed=None))
    assert seen.events == ()
    assert (seen.job.suffix, seen.job.seed) == ("fr", 7)


async def test_a_job_that_goes_on_after_its_end_forgets_the_ending(desk):
    ended = raw_job("a", "failed", finished_at=5, error={"code": "x", "message": "y"})
    await desk.saw("a", raw=ended)
    waits = await desk.saw("a", raw=raw_job("a", "running"))
    assert (waits.outcome, waits.job.status) == ("unconfirmed", "failed")
    goes_on = await desk.saw("a", raw=raw_job("a", "running"), confirmed=True)
    assert goes_on.job.status == "running"
    assert (goes_on.job.finished_at, goes_on.job.error) == (None, None)


async def test_an_observation_that_cannot_be_read_does_not_hold_up_the_next_job(desk):
    broken = desk.look("bad", raw=b'{"id": "bad", "status": 7}')
    good = desk.look("good", raw=raw_job("good"))
    fault, committed = await desk.commit(broken, good)
    assert isinstance(fault, JobFault)
    assert fault.job_id == "bad"
    assert "ValidationError" in fault.reason
    assert committed.outcome == "committed"
    assert types(desk.heard)[0] == "tunewatch.job.discovered"


async def test_nothing_is_written_under_a_lease_that_was_taken_over(desk):
    lost = Fence(desk.source.id, desk.held.token - 1)
    with pytest.raises(LeaseLost):
        await desk.store.journal.commit(
            lost, [desk.look("a", raw=raw_job("a"))], decode=decode_job
        )
    assert await desk.store.reads.events() == []


async def test_a_job_of_another_source_is_only_noted(store_url):
    async with open_desk(store_url) as desk:
        await desk.saw("a", raw=raw_job("a"))
        row = await desk.store.sources.contact("second", "openai", REALM)
        held = await desk.store.leases.acquire(row.id)
        [seen] = await desk.store.journal.commit(
            held, [desk.look("a", raw=raw_job("a", "failed"))], decode=decode_job
        )
        assert (seen.outcome, seen.owner) == ("foreign", "research")
        assert seen.events == ()


async def test_what_retention_purged_is_never_reopened(desk):
    def bury(connection):
        connection.execute(
            schema.tombstone.insert().values(
                realm=REALM, id="a", status="succeeded", at=0.0
            )
        )

    await desk.store.carrier.write(bury)
    seen = await desk.saw("a", raw=raw_job("a", "running"))
    assert (seen.outcome, seen.events, seen.job_key) == ("tombstone", (), 0)


async def test_points_get_ordinals_and_a_result_file_fills_only_what_is_absent(desk):
    await desk.saw(
        "a", raw=raw_job("a"), entries=(metrics(1, 1, train_loss=0.5, lr=0.1),)
    )
    file_points = (
        MetricPoint(step=1, values={"train_loss": 9.0, "valid_loss": 0.4}),
        MetricPoint(step=2, values={"train_loss": 0.3}),
    )
    seen = await desk.saw("a", raw=raw_job("a"), file_id="f", file_points=file_points)
    kept = await desk.store.reads.points(seen.job_key)
    assert [(point.n, point.step, point.values) for point in kept] == [
        (1, 1, {"train_loss": 0.5, "lr": 0.1}),
        (2, 1, {"valid_loss": 0.4}),
        (3, 2, {"train_loss": 0.3}),
    ]


async def test_a_checkpoint_that_is_gone_long_enough_is_removed(desk):
    listed = (checkpoint(1), checkpoint(2))
    await desk.saw("a", raw=raw_job("a"), checkpoints=listed)
    lagging = await desk.saw("a", checkpoints=(checkpoint(2),), absent_after=15.0)
    assert (lagging.absent, lagging.events) == (frozenset({"ckpt-1"}), ())
    gone = await desk.saw(
        "a",
        checkpoints=(checkpoint(2),),
        absent_after=15.0,
        absent_for={"ckpt-1": 20.0},
    )
    assert types(gone.events) == ["fine_tuning.checkpoint.removed"]
    kept = await desk.store.reads.checkpoints(gone.job_key)
    assert [one.id for one in kept] == ["ckpt-2"]
    back = await desk.saw("a", checkpoints=listed)
    assert types(back.events) == ["fine_tuning.checkpoint.created"]


async def test_jobs_that_ended_before_the_backfill_point_are_recorded_silently(desk):
    looks = [
        desk.look(f"s{n}", raw=raw_job(f"s{n}", "succeeded"), silent=True)
        for n in range(100)
    ]
    outcomes = await desk.commit(*looks)
    assert {one.outcome for one in outcomes} == {"committed"}
    assert desk.heard == []
    page = await desk.store.reads.jobs(limit=200)
    assert len(page.rows) == 100
    assert all(row.settled for row in page.rows)
    changed = await desk.saw("s7", raw=raw_job("s7", "failed"))
    assert types(changed.events)[0] == "tunewatch.job.discovered"


async def test_a_sequence_never_goes_back_although_the_clock_does(desk):
    before = await desk.saw("a", raw=raw_job("a"))
    desk.clock.wall -= 3600
    after = await desk.saw("a", entries=(message(1),))
    sequences = [e.common.sequence for e in told([*before.events, *after.events])]
    assert sequences == sorted(set(sequences))


async def test_totals_grow_in_the_commit(desk):
    await desk.saw("a", raw=raw_job("a", model="ft:gpt-4o:org::x"))
    error = {"code": "Odd Code!", "message": "m"}
    ended = raw_job("a", "failed", error=error, finished_at=int(T0))
    await desk.saw("a", raw=ended)
    counts = {
        (count.name, *sorted(count.labels.items())): count.value
        for count in await desk.store.reads.counts()
    }
    source = ("source", "research")
    assert counts["jobs_discovered", source] == 1
    assert counts["job_transitions", source, ("to", "failed")] == 1
    finished = [key for key in counts if key[0] == "jobs_finished"]
    assert finished == [
        (
            "jobs_finished",
            ("base_model", "gpt-4o"),
            ("error_code", "other"),
            ("method", "supervised"),
            source,
            ("status", "failed"),
        )
    ]


async def test_a_source_goes_down_and_comes_up_once_each(desk):
    down = SourceDown(reason="key refused", since="2026-11-20T00:00:00Z")
    up = SourceUp(reason="answers again", since="2026-11-20T00:00:00Z")
    journal = desk.store.journal
    assert await journal.source_event(desk.held, up) == []
    first = await journal.source_event(desk.held, down)
    assert await journal.source_event(desk.held, down) == []
    state = await desk.store.sources.state(desk.source.id)
    assert (state.down, state.reason) == (True, "key refused")
    await journal.source_event(desk.held, up)
    second = await journal.source_event(desk.held, down)
    assert types(desk.heard) == [
        "tunewatch.source.down",
        "tunewatch.source.up",
        "tunewatch.source.down",
    ]
    assert first[0].id != second[0].id
    [event] = told(first)
    assert (event.common.id, event.common.status) == ("research", None)


def chosen(checkpoint_id: str = "ckpt-1") -> Derived:
    return Derived(
        type="tunewatch.checkpoint.selected",
        data={
            "checkpoint": {"id": checkpoint_id},
            "decision": "final",
            "metric": "full_valid_loss",
            "goal": "minimize",
            "value": 0.5,
            "reason": "the lowest",
            "candidates": [],
            "previous": None,
        },
    )


async def test_a_conclusion_is_written_for_the_revision_it_was_drawn_from(desk):
    seen = await desk.saw("a", raw=raw_job("a"))
    snapshot = await desk.store.reads.snapshot("research", "a")
    cause = seen.events[-1].id

    def conclude(revision: int):
        return lambda connection: append_derived(
            connection,
            desk.held,
            seen.job_key,
            revision,
            cause,
            "best",
            [chosen()],
            now=desk.clock.now(),
        )

    write = desk.store.carrier.write
    assert await write(conclude(snapshot.revision + 1)) is None
    [ref] = await write(conclude(snapshot.revision))
    assert ref.derived
    assert ref.position == seen.events[-1].position + 1
    after = await desk.store.reads.snapshot("research", "a")
    assert after.revision == snapshot.revision
    assert after.selection.event_id == ref.id
    assert after.selection.data["decision"] == "final"
    # The same conclusion again is the same event.
    assert await write(conclude(snapshot.revision)) == []


async def test_a_reactor_may_not_speak_for_the_provider(desk):
    seen = await desk.saw("a", raw=raw_job("a"))
    lie = Derived(type="fine_tuning.job.succeeded", data={})
    with pytest.raises(ValueError, match="a reactor may conclude"):
        await desk.store.carrier.write(
            lambda c: append_derived(c, desk.held, seen.job_key, 1, "x", "p", [lie])
        )


async def test_events_of_a_commit_nobody_heard_of_are_told_with_the_next(desk):
    await desk.saw("a", raw=raw_job("a"))
    journal = desk.store.journal
    # A commit whose answer was lost: written, and nobody was told.
    unheard = desk.look("a", raw=raw_job("a"), entries=(message(1),))
    async with open_second_journal(desk) as second:
        await second.commit(desk.held, [unheard], decode=decode_job)
    journal.doubt(desk.source.id)
    await desk.saw("a", entries=(message(2),))
    ids = [event.payload.event_id for event in told(desk.heard[2:])]
    assert ids == ["ev-1", "ev-2"]


def open_second_journal(desk: Desk):
    """Lend a journal on the same store whose commits the first does not hear of."""
    from contextlib import asynccontextmanager

    from tunewatch.store.journal import Journal

    @asynccontextmanager
    async def lend():
        yield Journal(desk.store.carrier, clock=desk.clock)

    return lend()


async def test_after_a_restore_sequences_rise_and_ids_stay(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    clock = HandClock()
    async with open_desk(url, clock=clock) as desk:
        await desk.saw("a", raw=raw_job("a"))
    backup = (tmp_path / "state.db").read_bytes()
    clock.advance(60)
    async with open_desk(url, clock=clock) as desk:
        lost = await desk.saw("a", entries=(message(1),))
    (tmp_path / "state.db").write_bytes(backup)
    clock.advance(60)
    async with open_desk(url, clock=clock) as desk:
        again = await desk.saw("a", entries=(message(1), message(2)))
    assert again.events[0].id == lost.events[0].id
    assert again.events[1].id != lost.events[0].id
    [before], after = told(lost.events), told(again.events)
    assert all(event.common.sequence > before.common.sequence for event in after)


async def test_an_event_that_is_there_already_is_not_told_twice(desk):
    seen = await desk.saw("a", raw=raw_job("a"), entries=(message(1),))

    def forget_entries(connection):
        connection.execute(text("DELETE FROM entry"))
        connection.execute(update(schema.job).values(status="running"))

    await desk.store.carrier.write(forget_entries)
    again = await desk.saw("a", entries=(message(1), message(2)))
    assert [e.payload.event_id for e in told(again.events)] == ["ev-2"]
    assert len({ref.id for ref in desk.heard}) == len(desk.heard) == 4
    assert again.events[0].position == seen.events[-1].position + 2
