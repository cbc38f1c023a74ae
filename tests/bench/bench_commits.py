"""How fast events are committed, with none, some and many plugins configured.

Every figure is of whole commits through the journal: fence, state before, diff, state
after, events, and a disk that was told to sync. A dispatcher runs beside them with
plugins of the usual subscription, to which none of these events are of interest.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from contextlib import closing
from typing import NamedTuple

import asyncpg

from bench.engines import ENGINES, FreshUrl
from bench.loop import run
from bench.report import Figure, at_least
from support.dispatching import Desk, Recorder, desk, gate
from tunewatch.clock import SystemClock

PLUGINS = (0, 4, 20)
ROUNDS = 5
SINGLE = 120
TOGETHER = 8
BURST, BURST_JOBS, BURSTS = 1000, 20, 2
LEAST_SINGLE = {"SQLite": 500, "PostgreSQL": 350}
LEAST_BURST = {"SQLite": 20_000, "PostgreSQL": 10_000}
LEAST_GAIN = 2.0


class Round(NamedTuple):
    """What one round measured, each a second."""

    single: float
    together: float
    burst: float
    bare: float  #: inserts of one row by the bare driver, each committed


async def single_commits(d: Desk) -> float:
    """Commit one event after the other."""
    began = time.perf_counter()
    for n in range(SINGLE):
        await d.tell("ftjob-0", f"step {n}: loss=0.31")
    return SINGLE / (time.perf_counter() - began)


async def commits_together(d: Desk) -> float:
    """Commit one event after the other, of eight jobs at a time."""

    async def one(job_id: str) -> None:
        for n in range(SINGLE // 4):
            await d.tell(job_id, f"step {n}: loss=0.31")

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for n in range(TOGETHER):
            tasks.create_task(one(f"ftjob-{n}"), name=f"commit:{n}")
    return TOGETHER * (SINGLE // 4) / (time.perf_counter() - began)


async def bursts(d: Desk) -> float:
    """Commit a thousand events of twenty jobs at once, some times."""
    each = BURST // BURST_JOBS
    looks = {
        f"ftjob-{n}": [f"step {i}: loss=0.31" for i in range(each)]
        for n in range(BURST_JOBS)
    }
    began = time.perf_counter()
    for _ in range(BURSTS):
        await d.tell_all(looks)
    return BURSTS * BURST / (time.perf_counter() - began)


async def bare_commits(url: str) -> float:
    """Commit one row after the other by the bare driver, on the same disk."""
    if url.startswith("sqlite"):
        return await asyncio.to_thread(_bare_sqlite, url.removeprefix("sqlite:///"))
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS bare (body bytea)")
        began = time.perf_counter()
        for _ in range(SINGLE):
            await connection.execute("INSERT INTO bare VALUES ($1)", b"x" * 600)
        return SINGLE / (time.perf_counter() - began)
    finally:
        await connection.close()


def _bare_sqlite(path: str) -> float:
    with closing(sqlite3.connect(f"{path}-bare", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS bare (body BLOB)")
        began = time.perf_counter()
        for _ in range(SINGLE):
            connection.execute("INSERT INTO bare VALUES (?)", (b"x" * 600,))
        return SINGLE / (time.perf_counter() - began)


async def rounds(url: str, plugins: int) -> list[Round]:
    """Return the figures of some rounds on one store."""
    clock = SystemClock()
    async with desk(url, clock) as d:
        sinks = [Recorder() for _ in range(plugins)]
        gates = [
            gate(sink, f"p{n}", clock=clock, events=["@terminal", "@selection"])
            for n, sink in enumerate(sinks)
        ]
        async with d.dispatching(*gates):
            await d.tell_all({f"ftjob-{n}": ["first"] for n in range(BURST_JOBS)})
            found = [
                Round(
                    await single_commits(d),
                    await commits_together(d),
                    await bursts(d),
                    await bare_commits(url),
                )
                for _ in range(ROUNDS)
            ]
        assert not any(sink.got for sink in sinks)
    return found


def middle(found: list[Round]) -> Round:
    """Return the medians."""
    return Round(*map(statistics.median, zip(*found, strict=True)))


def figures(fresh: FreshUrl) -> list[Figure]:
    """Return every line of this benchmark."""
    lines = []
    for engine in ENGINES:
        for plugins in PLUGINS:
            found = run(rounds(fresh(engine), plugins))
            single, _, burst, bare = middle(found)
            with_plugins = f"{plugins} plugins, {engine}"
            limit = LEAST_SINGLE[engine]
            what = f"single-event commits, {with_plugins}"
            line = at_least(what, single, limit, "/s", digits=0)
            shown = f"{single / bare:.2f} of bare inserts"
            lines.append(line._replace(ratio=shown))
            what = f"events in bursts of {BURST:,}, {with_plugins}"
            limit = LEAST_BURST[engine]
            lines.append(at_least(what, burst, limit, "/s", digits=0))
            if plugins == 0:
                gain = statistics.median(one.together / one.single for one in found)
                what = f"{TOGETHER} single commits together, of one alone, {engine}"
                lines.append(at_least(what, gain, LEAST_GAIN, "times", digits=2))
    return lines
