"""The plans of the hot statements: a million events of a dead plugin cost no scan."""

from __future__ import annotations

import re
import time
from functools import partial

import pytest
from sqlalchemy import text

from support.dispatching import desk
from tunewatch.store import choosing_range, counting, heads, waiting

EVENTS = 100_000
_EVENT = text(
    "INSERT INTO event (position, id, source_id, job_key, type, sequence,"
    " observed_at, derived, body) VALUES (1000 + :n, 'evt_' || CAST(:n AS TEXT), 1,"
    " :job, 'fine_tuning.event.' || CASE WHEN :n % 7 = 0 THEN 'message'"
    " ELSE 'metrics' END, :n, 1000.0 + :n, false, :body)"
)


@pytest.fixture
async def full(store_url):
    """A store with many events of one job and a few of another."""
    async with desk(store_url) as d:
        await d.tell("ftjob-1", "one")
        await d.tell("ftjob-2", "two")

        def fill(connection):
            rows = [
                {"n": n, "job": 2 if n % 1000 == 0 else 1, "body": b"{}"}
                for n in range(1, EVENTS + 1)
            ]
            connection.execute(_EVENT, rows)
            if connection.dialect.name == "postgresql":
                connection.execute(text("ANALYZE event"))  # as autovacuum does

        await d.store.carrier.write(fill)
        yield d


async def explained(d, statement, **values):
    how = "EXPLAIN" if d.store.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
    rows = await d.store.carrier.read(
        lambda c: c.execute(text(f"{how} {statement.text}"), values).all()
    )
    return "\n".join(str(row[-1]) for row in rows)


@pytest.mark.parametrize(
    ("statement", "index", "values"),
    [
        (heads.NEXT, "event_by_job", {"job": 2, "after": 50_000, "most": 9}),
        (waiting._NEWS, "event_by_source", {"after": 100_990, "most": 9}),
        (waiting._SPAN, "event_by_job", {"job": 2, "after": 0}),
        (waiting._OBSERVED, "event_by_source", {"at": 50_000}),
        (waiting._NEWEST, "event_by_source", {}),
        (counting._OF_JOB, "event_by_job", {"job": 2, "after": 50_000}),
        (choosing_range._OF_SOURCE, "event_by_source", {"after": 100_000}),
    ],
    ids=["next", "news", "span", "observed", "newest", "counted", "grouped"],
)
async def test_a_hot_statement_uses_its_index(full, statement, index, values):
    bound = {"source": 1, "upto": 200_000, **values}
    asked = {key: bound[key] for key in re.findall(r"(?<!:):(\w+)", statement.text)}
    plan = await explained(full, statement, **asked)
    assert "Seq Scan on event" not in plan
    assert "SCAN e" not in plan
    # Where one source has nearly all events, their own order is as good.
    assert index in plan or (index == "event_by_source" and "event_pkey" in plan)


async def test_the_next_events_of_a_lane_cost_the_same_with_any_number_behind(full):
    async def cost(job_key, after):
        read = partial(
            heads.heads,
            source_id=1,
            reach=heads.Reach(job_key, after, 200_000, lambda kind, derived: True),
        )
        costs = []
        for _ in range(20):
            began = time.perf_counter()
            found = await full.store.carrier.read(read)
            costs.append(time.perf_counter() - began)
            assert len(found.positions) == heads.HEADS
            assert found.more
        return min(costs)

    assert await cost(1, 1000) < 5 * await cost(2, 1000) + 0.002


async def test_what_waits_is_grouped_and_the_parts_make_the_whole(full):
    whole = await full.store.carrier.read(
        partial(waiting.pending, source_id=1, after=0, upto=200_000)
    )
    parts = []
    for after in range(0, 200_000, 7_001):
        parts += await full.store.carrier.read(
            partial(waiting.pending, source_id=1, after=after, upto=after + 7_001)
        )
    assert sorted(waiting.merged(parts)) == sorted(whole)
    assert len(whole) < 10


async def test_the_oldest_are_found_by_bisection(full):
    found = await full.store.carrier.read(
        partial(
            waiting.observed_before,
            source_id=1,
            moment=1000.0 + 500,
            after=1000,
            upto=1000 + EVENTS,
        )
    )
    assert found == 1000 + 499


async def test_what_is_old_is_found_however_much_of_it_there_is(full):
    found = await full.store.carrier.read(
        partial(
            waiting.older_than,
            source_id=1,
            moment=1000.0 + EVENTS + 1,
            after=1000,
            upto=1000 + EVENTS,
        )
    )
    assert found == 1000 + EVENTS


async def test_bodies_are_read_whatever_their_number(full):
    for count in (1, 2, 8, 9, 64, 65, 200):
        positions = range(1001, 1001 + count)
        refs = await full.store.carrier.read(
            partial(waiting.bodies, positions=positions)
        )
        assert sorted(ref.position for ref in refs) == list(positions)


@pytest.mark.parametrize("rare", [False, True], ids=["all", "a seventh"])
async def test_the_next_events_of_many_lanes_are_those_of_each(full, rare):
    def wanted(kind, _derived):
        return kind == "fine_tuning.event.message" or not rare

    def both(connection):
        reaches = [
            heads.Reach(job, after, upto, wanted)
            for job, after, upto in [
                (1, 1000, 200_000),
                (2, 1000, 200_000),
                (2, 95_000, 97_500),
                (3, 0, 200_000),
                (1, 1005, 1005),
            ]
        ]
        together = heads.heads_of_each(connection, 1, reaches)
        return together, [heads.heads(connection, 1, reach) for reach in reaches]

    together, alone = await full.store.carrier.read(both)
    assert together == alone
    assert [len(found.positions) for found in alone[:2]] == [32, 14 if rare else 32]
    assert alone[3] == alone[4] == ([], False)
