"""Hot statements find their rows by an index, on both engines, however many there are.

Nothing is asked about by name: every statement that the store really runs is explained.
"""

from __future__ import annotations

import re
import sqlite3
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, insert, text

from support.databases import PostgresServer
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
    statements_noted,
)
from tunewatch.model import MetricPoint
from tunewatch.store import schema
from tunewatch.store.event_pages import EventsWanted
from tunewatch.store.missed import events_after
from tunewatch.store.redelivery import awaited_sources, next_stretches
from tunewatch.store.told import Spot

BIG = "job|event|entry|point|checkpoint|tombstone|dead_letter|attempt|stretch"
"""Tables that grow. The others have a row per source, plugin or lane in trouble."""
FEW = "job_unsettled|attempt_failed"
"""Indexes that have a row only for what is looked for."""
JOBS = 2000


async def fill(desk: Desk) -> None:
    for start in range(0, JOBS, 500):
        looks = [
            desk.look(
                f"j{n}",
                raw=raw_job(f"j{n}", created_at=n),
                entries=(message(1), metrics(2, 1, train_loss=0.5)),
                checkpoints=(checkpoint(1),),
            )
            for n in range(start, start + 500)
        ]
        await desk.commit(*looks)
        quiet = [
            desk.look(
                look.job_id,
                raw=raw_job(
                    look.job_id,
                    "succeeded",
                    created_at=int(look.job_id[1:]),
                    finished_at=int(T0) - 86_400,
                ),
                complete=True,
                quiet_for=100.0,
            )
            for look in looks[:490]
        ]
        await desk.commit(*quiet)
        again = {"complete": True, "quiet_for": 100.0}
        await desk.commit(*[desk.look(one.job_id, **again) for one in quiet])
    await desk.store.carrier.write(graves_and_letters)


def graves_and_letters(connection: Connection) -> None:
    graves = [
        {"realm": REALM, "id": f"t{n}", "status": "failed", "at": 0.0}
        for n in range(20 * JOBS)
    ]
    connection.execute(insert(schema.tombstone), graves)
    letter = {"plugin": "ops", "source_id": 1, "job_key": 1, "event_id": "e"}
    letter |= dict.fromkeys(("first_position", "last_position", "tries"), 1)
    letter |= dict.fromkeys(("first_sequence", "last_sequence"), 1)
    letters = [
        letter | {"reason": "no", "at": 2e9 + n, "closed_at": (n % 50 and 5.0) or None}
        for n in range(5 * JOBS)
    ]
    connection.execute(insert(schema.dead_letter), letters)
    call = {"plugin": "ops", "source_id": 1, "event_id": "e", "number": 1, "at": 2e9}
    calls = [
        call
        | {"job_key": n % JOBS, "position": n, "seconds": 0.1}
        | {"outcome": "accepted" if n % 50 else "rejected"}
        | {"redelivery": None if n % 70 else n}
        for n in range(20 * JOBS)
    ]
    connection.execute(insert(schema.attempt), calls)
    part = {"plugin": "ops", "source_id": 1, "last": 1, "redelivery": 1}
    parts = [part | {"job_key": n, "first": n} for n in range(5 * JOBS)]
    connection.execute(insert(schema.stretch), parts)
    mark = {"plugin": "ops", "source_id": 1, "position": JOBS, "in_flight": b"[]"}
    connection.execute(insert(schema.mark), [mark | {"last_used_at": 0.0}])


async def everything_hot(desk: Desk) -> None:
    """Do once whatever is done all the time."""
    store, source_id = desk.store, desk.source.id
    await desk.saw("j7", entries=(message(1), message(9)))
    await desk.saw("j7", checkpoints=(checkpoint(1), checkpoint(2)))
    points = (MetricPoint(step=2, values={"train_loss": 0.1}),)
    await desk.saw("j7", file_id="f", file_points=points)
    await desk.saw("new", raw=raw_job("new"), entries=(message(1),))
    await desk.commit(desk.look("j1", raw=raw_job("j1")), desk.look("j2"))
    await store.leases.renew([desk.held])
    await store.sources.known_jobs(REALM, [f"j{n}" for n in range(100)])
    await store.sources.known_entries(7, ["ev-1", "ev-2"])
    await store.sources.tracked(source_id, decode_job)
    await store.sources.count_newer(source_id, JOBS - 10, 20)
    await store.carrier.read(lambda c: events_after(c, source_id, 100, limit=100))
    now = desk.clock.now()
    for source_ids in (None, [source_id]):
        asked = {"finished_within": 60.0, "now": now, "source_ids": source_ids}
        assert await store.reads.window(**asked, limit=100)
        parts = store.reads.window_parts(**asked, limit=3)
        assert [len(part.jobs) async for part in parts] == [3, 0]
    await store.reads.counts([source_id])
    await store.reads.snapshot("research", "j7")
    await store.reads.find("j7", source="research")
    await store.reads.find("j7")
    wanted = EventsWanted(since=T0 - 1e6, before=T0 + 1e6)
    await store.reads.told(wanted, limit=10, after=50)
    await store.reads.told(EventsWanted(jobs=[7]), limit=10)
    await store.reads.is_spot(Spot(7, "evt_x"))
    await store.reads.events(after=50, limit=10)
    await store.reads.events(after=50, limit=10, source="research")
    await store.reads.events(after=50, limit=10, job_key=7)
    await store.reads.event("evt_x")
    await store.reads.positions()
    await store.reads.backlog()
    await store.reads.deliveries.attempts(event_id="evt_x", limit=10)
    await store.reads.deliveries.attempts(job_id="j7", limit=10)
    await store.reads.deliveries.attempts(outcomes=["rejected"], limit=10)
    await store.reads.deliveries.attempts(redelivery=70)
    await store.redeliver.progress(70)
    await store.carrier.read(awaited_sources)
    read = partial(next_stretches, source_id=source_id, most={"ops": 9})
    await store.carrier.read(read)
    await store.retention.purge(desk.held, older_than=1e9, plugins=["ops"])


async def test_postgresql_scans_no_big_table(postgres: PostgresServer, server_url: str):
    database = server_url.rpartition("/")[2]
    async with open_desk(server_url) as desk:
        await fill(desk)
    postgres.run("ANALYZE", database)
    for setting in (
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_nested_statements = on",
    ):
        postgres.run(f"ALTER DATABASE {database} SET {setting}")
    log = postgres.directory / "log"
    before = log.stat().st_size
    async with open_desk(server_url) as desk:
        await everything_hot(desk)
    with log.open() as file:
        file.seek(before)
        plans = file.read()
    assert "Index Scan using job_realm_id_key" in plans
    scans = re.findall(rf"Seq Scan on ({BIG})\b", plans)
    found = "\n".join(context(plans, f"Seq Scan on {name}") for name in scans)
    assert not scans, found


def context(plans: str, words: str) -> str:
    """Return the statement that a plan belongs to."""
    at = plans.index(words)
    return plans[plans.rindex("Query Text", 0, at) : at + 200]


async def test_sqlite_scans_no_big_table(tmp_path: Path):
    path = tmp_path / "state.db"
    async with open_desk(f"sqlite:///{path}") as desk:
        await fill(desk)
    async with open_desk(f"sqlite:///{path}") as desk:
        with statements_noted() as asked:
            await everything_hot(desk)
        scans = {
            (plan, statement)
            for statement, plan in explained(path, dict(asked))
            if re.search(rf"^SCAN ({BIG})\b(?!.* INDEX ({FEW}))", plan)
            or plan.endswith("INDEX job_by_age (source_id=?)")  # as many, really
        }
    assert len(asked) > 40
    assert scans == set()


def explained(path: Path, asked: dict[str, object]) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    plans = []
    for statement, parameters in asked.items():
        if statement.split()[0] in {"SELECT", "UPDATE", "DELETE", "INSERT", "WITH"}:
            rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans += [(statement, row[3]) for row in rows]
    connection.close()
    return plans


async def test_the_unsettled_jobs_are_found_without_reading_the_settled(postgres_url):
    async with open_desk(postgres_url) as desk:
        await fill(desk)
        settled = await desk.store.carrier.read(
            lambda c: c.scalar(text("SELECT count(*) FROM job WHERE settled"))
        )
        tracked = await desk.store.sources.tracked(desk.source.id, decode_job)
    assert settled == JOBS - len(tracked)
    assert len(tracked) == JOBS // 50
