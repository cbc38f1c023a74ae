"""What a long history costs: nothing, once it is known; and how it becomes known.

The real daemon as a process: a look at a hundred thousand jobs, broken off in the
middle; then the same few running jobs beside none and beside a million that ended.
Run: `python -m bench history` with `tests` on the path.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.bench_scale import ManyKeys, as_installed, lived
from bench.engines import FreshUrl
from bench.loop import run
from bench.many_jobs_api import PAGE, ManyJobs, many_jobs_api
from bench.report import Figure, at_most
from support.watching import until

RUNNING, ENDED = 20, 100_000
A_MINUTE = 6000
"""Requests that the first walk may use: 50 times the usual, so that it ends today."""
STORED = 1_000_000
SECONDS = 40.0
MOST_PAGES, MOST_TIMES = 1.2, 1.1
MIB = 2**20
_EVERY_JOB = "SELECT count(*) FROM job"
_COPIES = (
    "WITH RECURSIVE copy (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copy"
    " WHERE n < {copies})"
    " INSERT INTO job ({columns}) SELECT {values} FROM job, copy WHERE settled"
)


def daemon_of(directory: Path, api: ManyJobs, source: str) -> ManyKeys:
    """Return a daemon with one key, on a store in the directory."""
    return ManyKeys(
        program=as_installed(directory),
        state=f"sqlite:///{directory / 'state.db'}",
        api_url=api.url,
        projects=1,
        source=source,
        environ={"KEY_0": "sk-0"},
    )


def known(directory: Path) -> int:
    """Return how many jobs are in the store."""
    uri = f"file:{directory / 'state.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        found: int = connection.execute(_EVERY_JOB).fetchone()[0]
        return found


async def first_walk(directory: Path) -> list[Figure]:
    """Get to know a long list, with an end in the middle."""
    with many_jobs_api(projects=1, jobs=RUNNING, ended=ENDED) as api:
        daemon = daemon_of(directory, api, f"requests_per_minute = {A_MINUTE}")
        pages, resident, began = 0, 0, time.monotonic()
        async with lived(daemon):
            await until(
                lambda: known(directory) > ENDED // 2,
                within=300.0,
                every=0.5,
                what="half of the list is known",
            )
        pages += api.asked().requests["jobs"]
        async with lived(daemon) as process:
            while known(directory) < RUNNING + ENDED:
                assert time.monotonic() - began < 600.0, "the walk does not end"
                resident = max(resident, process.memory_info().rss)
                await asyncio.sleep(0.5)
        took = time.monotonic() - began
        pages += api.asked().requests["jobs"]
    progress = daemon.said().count('"poll.first_walk"')
    least = ENDED / PAGE
    shown = f"{took:.0f} s, {progress} lines of progress, {resident / MIB:.0f} MiB"
    what = f"first walk over {ENDED:,} jobs, broken off once, pages read"
    # What new jobs are looked for with, meanwhile, is counted among them.
    return [at_most(what, pages / least, MOST_PAGES, "times", digits=2, ratio=shown)]


@dataclass(slots=True)
class Cost:
    """What a while of looking cost."""

    cpu: float  #: s for a thousand requests
    resident: float  #: MiB


async def cost_of(daemon: ManyKeys, api: ManyJobs) -> Cost:
    """Measure a while of looking at what runs."""
    async with lived(daemon) as process:
        await asyncio.sleep(10.0)
        api.asked()
        before = process.cpu_times()
        await asyncio.sleep(SECONDS)
        after, requests = process.cpu_times(), api.asked().requests.total()
        resident = process.memory_info().rss / MIB
    spent = after.user + after.system - before.user - before.system
    return Cost(spent / requests * 1e3, resident)


def multiply(directory: Path) -> None:
    """Make a million of the jobs that ended."""
    with closing(sqlite3.connect(directory / "state.db")) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(job)")]
        columns = [name for name in names if name != "key"]
        values = ["id || '-' || copy.n" if name == "id" else name for name in columns]
        settled = connection.execute(f"{_EVERY_JOB} WHERE settled").fetchone()[0]
        connection.execute(
            _COPIES.format(
                copies=STORED // settled,
                columns=", ".join(map(_quoted, columns)),
                values=", ".join(v if "||" in v else _quoted(v) for v in values),
            )
        )
        connection.commit()


def _quoted(name: str) -> str:
    return f'"{name}"'


async def long_history(directory: Path) -> list[Figure]:
    """Compare a look beside a short history with one beside a long one."""
    with many_jobs_api(projects=1, jobs=RUNNING, ended=PAGE) as api:
        often = f"requests_per_minute = {A_MINUTE}\npoll_interval = '1s'"
        daemon = daemon_of(directory, api, often)
        async with lived(daemon):
            await until(
                lambda: known(directory) == RUNNING + PAGE, what="all are known"
            )
            await asyncio.sleep(5.0)
        short = await cost_of(daemon, api)
        await asyncio.to_thread(multiply, directory)
        long = await cost_of(daemon, api)
    stored = known(directory)
    assert stored >= STORED, f"only {stored:,} jobs are stored"
    what = f"{stored:,} stored jobs beside {RUNNING} running ones"
    cpu = f"{short.cpu:.2f} -> {long.cpu:.2f} ms a request"
    resident = f"{short.resident:.0f} -> {long.resident:.0f} MiB"
    return [
        at_most(
            f"{what}, CPU",
            long.cpu / short.cpu,
            MOST_TIMES,
            "times",
            digits=2,
            ratio=cpu,
        ),
        at_most(
            f"{what}, resident",
            long.resident / short.resident,
            MOST_TIMES,
            "times",
            digits=2,
            ratio=resident,
        ),
    ]


def figures(_fresh: FreshUrl) -> list[Figure]:
    """Return every line of this benchmark."""
    lines = []
    for part in (first_walk, long_history):
        with tempfile.TemporaryDirectory() as directory:
            lines += run(part(Path(directory)))
    return lines
