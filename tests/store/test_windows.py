"""The window of /metrics: which jobs are in it, in which order, and at a glance."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update

from support.job_rows import job_row, selection
from support.stores import REALM, T0, Desk, decode_job, metrics, open_desk, raw_job
from tunewatch.diff import JobState, Latest
from tunewatch.events import CheckpointSelected, CheckpointUnselected
from tunewatch.glance import JobKind, WindowPart, glance
from tunewatch.model import Job, JobError, Selection
from tunewatch.store import schema, windows
from tunewatch.store.gathered import Gathered, Named
from tunewatch.store.glances import glances

NOW = int(T0)


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    async with open_desk(store_url) as desk:
        yield desk


async def ids(desk: Desk, **asked: Any) -> list[str]:
    asked = {"finished_within": 300.0, "limit": 100, "now": T0, **asked}
    rows = await desk.store.reads.window(**asked)
    parts = [part async for part in desk.store.reads.window_parts(**asked)]
    found = [job.id for part in parts for job in part.jobs]
    listed = [row.job.id for row in rows]
    assert sorted(found) == sorted(listed)
    return listed


async def test_it_has_what_goes_on_and_what_ended_lately(desk):
    cases = {
        "active": raw_job("active"),
        "fresh": raw_job("fresh", "succeeded", finished_at=NOW - 60),
        "old": raw_job("old", "succeeded", finished_at=NOW - 600),
        "failed": raw_job("failed", "failed", finished_at=NOW - 600),
        "ancient": raw_job("ancient", "failed", finished_at=NOW - 7200),
    }
    for job_id, raw in cases.items():
        await desk.saw(job_id, raw=raw, silent=job_id != "active")
    assert set(await ids(desk)) == {"active", "fresh", "failed"}
    assert set(await ids(desk, finished_within=0.0)) == {"active", "failed"}
    assert set(await ids(desk, finished_within=9000.0)) == set(cases)
    assert await ids(desk, source_ids=[desk.source.id], limit=1) == ["active"]
    assert await ids(desk, source_ids=[99]) == []


async def test_a_job_that_is_gone_from_its_provider_is_gone_from_the_window(desk):
    await desk.saw("a", raw=raw_job("a"))
    await desk.saw("a", gone=True)
    await desk.saw("b", raw=raw_job("b", "failed", finished_at=NOW - 5), silent=True)
    assert await ids(desk) == ["b"]


async def test_those_that_go_on_come_first_and_the_newest_of_them(desk):
    for n, status in enumerate(["failed", "running", "succeeded", "queued", "running"]):
        end = NOW - 10 if status in ("failed", "succeeded") else None
        raw = raw_job(f"j{n}", status, created_at=NOW - 1000 + n, finished_at=end)
        await desk.saw(f"j{n}", raw=raw)
    assert await ids(desk) == ["j4", "j3", "j1", "j2", "j0"]
    assert await ids(desk, limit=2) == ["j4", "j3"]


async def test_jobs_of_several_sources_are_in_one_order(desk):
    other = await desk.store.sources.contact("other", "openai", REALM + "/other")
    held = await desk.store.leases.acquire(other.id)
    for n in range(6):
        look = desk.look(f"j{n}", raw=raw_job(f"j{n}", created_at=NOW + n))
        lease = held if n % 2 else desk.held
        await desk.store.journal.commit(lease, [look], decode=decode_job)
    assert await ids(desk) == [f"j{n}" for n in reversed(range(6))]
    assert await ids(desk, source_ids=[other.id]) == ["j5", "j3", "j1"]


async def test_what_is_beyond_the_limit_is_told_by_kind(desk):
    size = windows.PART[desk.store.carrier.dialect]
    looks = [
        desk.look(
            f"j{n}",
            raw=raw_job(
                f"j{n}",
                "running" if n % 3 else "distilling",
                created_at=NOW + n,
                model="gpt-4o",
                method={"type": "dpo"} if n % 2 else None,
            ),
        )
        for n in range(size + 12)
    ]
    await desk.commit(*looks)
    parts = [
        part
        async for part in desk.store.reads.window_parts(
            finished_within=1.0, limit=size - 4, now=T0
        )
    ]
    assert [len(part.jobs) for part in parts] == [size - 4, 0]
    hidden = parts[-1].hidden
    assert sum(hidden.values()) == 16
    assert hidden[JobKind("research", "running", "gpt-4o", "dpo")] == 5
    assert hidden[JobKind("research", "distilling", "gpt-4o", "supervised")] == 3


async def test_many_jobs_come_in_parts(desk):
    size = windows.PART[desk.store.carrier.dialect]
    count = 2 * size + 7
    await desk.commit(*[desk.look(f"j{n}", raw=raw_job(f"j{n}")) for n in range(count)])
    asked = {"finished_within": 1.0, "now": T0}
    parts = [part async for part in desk.store.reads.window_parts(limit=9999, **asked)]
    assert [len(part.jobs) for part in parts] == [size, size, 7]
    some = [part async for part in desk.store.reads.window_parts(limit=99, **asked)]
    rows = await desk.store.reads.window(limit=99, **asked)
    assert [job.id for job in some[0].jobs] == [row.job.id for row in rows]
    hidden = [part async for part in desk.store.reads.window_parts(limit=0, **asked)]
    assert all(part == WindowPart((), part.hidden) for part in hidden)
    assert sum(sum(part.hidden.values()) for part in hidden) == count


async def test_a_job_that_goes_while_the_window_is_read_is_left_out(desk):
    size = windows.PART[desk.store.carrier.dialect]
    await desk.commit(
        *[desk.look(f"j{n}", raw=raw_job(f"j{n}")) for n in range(3 * size)]
    )
    asked = {"finished_within": 1.0, "now": T0}
    parts = desk.store.reads.window_parts(limit=2 * size, **asked)
    assert len((await anext(parts)).jobs) == size
    # The first of all, which comes last, stays.
    gone = delete(schema.job).where(schema.job.c.id != "j0")
    await desk.store.carrier.write(lambda c: c.execute(gone))
    shown, hidden = [part async for part in parts]
    # PostgreSQL was asked for the second part before.
    assert len(shown.jobs) in (0, size)
    assert sum(hidden.hidden.values()) == 1


async def test_a_job_passed_on_to_a_source_that_is_newer_harms_no_other(desk):
    size = windows.PART[desk.store.carrier.dialect]
    names = [f"j{n}" for n in range(4 * size)]
    await desk.commit(*[desk.look(name, raw=raw_job(name)) for name in names])
    asked = {"finished_within": 1.0, "now": T0}
    parts = desk.store.reads.window_parts(limit=3 * size, **asked)
    first = await anext(parts)
    newer = await desk.store.sources.contact("newer", "openai", REALM)
    # One of those that are shown in the end, and one of those that are counted.
    passed = update(schema.job).where(schema.job.c.id.in_([f"j{size}", "j1"]))
    passed = passed.values(source_id=newer.id)
    await desk.store.carrier.write(lambda c: c.execute(passed))
    _, last, hidden = [part async for part in parts]
    assert len(last.jobs) == size - 1
    assert f"j{size}" not in {job.id for job in last.jobs}
    assert sum(hidden.hidden.values()) == size - 1
    again = [part async for part in desk.store.reads.window_parts(limit=9999, **asked)]
    assert sum(len(part.jobs) for part in again) == 4 * size
    assert len(first.jobs) == size


async def test_an_odd_job_among_others_is_shown_as_it_is_alone(desk):
    names = [f"j{n}" for n in range(70)]
    raws = {name: raw_job(name, model=f'gpt {name} äß\u2028😀,"') for name in names}
    await desk.commit(*[desk.look(name, raw=raws[name]) for name in names])
    said = {"checkpoint": "none", "metric": 5, "value": "much"}
    odd = msgspec.structs.replace(selection(), data=said)
    for name, chosen in {"j7": odd, "j8": selection(0.25)}.items():
        body = msgspec.json.encode(chosen)
        statement = update(schema.job).where(schema.job.c.id == name)
        await desk.store.carrier.write(
            lambda c, s=statement, b=body: c.execute(s.values(selection=b))
        )
    asked = {"finished_within": 1.0, "now": T0, "limit": 69}
    [shown, _] = [part async for part in desk.store.reads.window_parts(**asked)]
    assert list(shown.jobs) == [
        glance(row) for row in await desk.store.reads.window(**asked)
    ]


async def test_a_job_that_ended_before_first_contact_is_not_in_the_totals(desk):
    now = desk.clock.now()
    for job_id, seen in {
        "old": {"raw": raw_job("old", "failed", finished_at=int(now) - 9)},
        "new": {"raw": raw_job("new", "failed", finished_at=int(now))},
        "hushed": {"raw": raw_job("hushed", "failed"), "silent": True},
    }.items():
        await desk.saw(job_id, **seen)
    rows = await desk.store.reads.window(finished_within=60.0, limit=9, now=now)
    assert {row.job.id: row.is_counted for row in rows} == {
        "old": False,
        "new": True,
        "hushed": False,
    }


# At a glance ----------------------------------------------------------------------


async def test_a_job_at_a_glance_is_the_job(desk):
    await desk.saw(
        "a",
        raw=raw_job(
            "a",
            model="gpt-4o",
            method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 4}}},
            hyperparameters={"n_epochs": 3},
            metadata={"team": "x"},
            extra={"project_id": "proj_1", "odd": [1]},
            error={"code": "server_error", "message": "m"},
        ),
        entries=(metrics(1, 5, train_loss=0.5), metrics(2, 6, valid_loss=0.4)),
    )
    chosen = msgspec.json.encode(selection(0.25))
    statement = update(schema.job).values(selection=chosen)
    await desk.store.carrier.write(lambda c: c.execute(statement))
    asked = {"finished_within": 1.0, "limit": 9, "now": T0}
    [row] = await desk.store.reads.window(**asked)
    [part] = [part async for part in desk.store.reads.window_parts(**asked)]
    [seen] = part.jobs
    assert seen == glance(row)
    assert (seen.method, seen.n_epochs, seen.project_id) == ("dpo", 4, "proj_1")
    assert (seen.step, seen.latest) == (6, {"train_loss": 0.5, "valid_loss": 0.4})
    assert seen.best is not None
    assert (seen.best.step, seen.best.value) == (200, 0.25)
    newest = select(func.max(schema.event.c.sequence))
    last = await desk.store.carrier.read(lambda c: c.scalar(newest))
    assert seen.sequence == last > 0


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("ab"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "n_epochs", "dpo", "x"]), inner)
    ),
    max_leaves=4,
)
hyperparameters = st.dictionaries(st.sampled_from(["n_epochs", "x"]), anything)
methods = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["supervised", "dpo", 3, None]),
        "supervised": st.fixed_dictionaries({"hyperparameters": hyperparameters})
        | anything,
        "dpo": anything,
    },
)
jobs = st.builds(
    Job,
    id=st.text(max_size=3),
    status=st.sampled_from(["running", "failed", "distilling"]),
    finished_at=st.none() | st.integers(0, 20),
    model=st.none() | st.text(max_size=3),
    method=methods,
    hyperparameters=st.none() | hyperparameters,
    metadata=st.none() | st.just({"team": "x"}),
    trained_tokens=st.none() | st.integers(0, 2**63 - 1),
    error=st.none() | st.builds(JobError, code=st.none() | st.text(max_size=2)),
    extra=st.dictionaries(st.sampled_from(["project_id", "x"]), anything),
)
chosen = st.fixed_dictionaries(
    {},
    optional={
        name: st.text(max_size=2) | st.floats(-9, 9) | anything
        for name in ("metric", "value", "decision", "reason")
    }
    | {
        "checkpoint": st.fixed_dictionaries(
            {},
            optional={
                "id": st.text(max_size=2) | anything,
                "step_number": st.integers(0, 9) | anything,
                "fine_tuned_model_checkpoint": st.text(max_size=2) | anything,
            },
        )
        | anything
    },
)
selections = st.none() | st.builds(
    Selection,
    type=st.sampled_from([CheckpointSelected.TYPE, CheckpointUnselected.TYPE]),
    event_id=st.just("e"),
    created_at=st.just(1),
    data=chosen,
)
states = st.builds(
    JobState,
    silent=st.booleans(),
    step=st.none() | st.integers(0, 9),
    latest=st.dictionaries(
        st.sampled_from(["train_loss", "x"]),
        st.builds(Latest, st.integers(0, 9), st.floats(-9, 9)),
    ),
)


@given(st.lists(st.tuples(jobs, states, selections), min_size=1, max_size=3))
def test_what_is_read_fast_is_what_is_read_whole(
    every: list[tuple[Job, JobState, Selection | None]],
):
    views, states, chosen = (
        msgspec.json.encode(bodies) for bodies in zip(*every, strict=True)
    )
    count = len(every)
    stored = Gathered(
        keys=range(count),
        sources=[Named("research", 10.0)] * count,
        realms=["openai"] * count,
        revisions=[3] * count,
        sequences=[7] * count,
        views=views,
        states=states,
        selections=chosen,
    )
    whole = {key: glance(row) for key, row in windows.job_rows(stored).items()}
    assert glances(stored) == whole


def test_numbers_at_a_glance_are_finite():
    latest: Mapping[str, float] = {"a": float("nan"), "b": float("inf"), "c": 0.0}
    seen = glance(job_row(latest=latest, job={"trained_tokens": 10**400}))
    assert (seen.latest, seen.trained_tokens) == ({"c": 0.0}, None)
