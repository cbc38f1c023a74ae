"""What a scrape of 10,000 active jobs costs: time, stillness of the loop, memory.

Run: `python -m bench metrics` with `tests` on the path. The whole way is measured, from
the store to the compressed answer, as Prometheus asks for it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench.engines import ENGINES, FreshUrl, engines
from bench.loop import run
from bench.report import Figure, as_text, at_most
from support.many_jobs import lateness, metrics_of_many
from tunewatch.plugin import Route

JOBS = 10_000
SHOWN = 1_000  # the default of max_jobs
ROUNDS = 9
SLOWEST = 250.0  # ms
STILLEST = 25.0  # ms
KEPT = 4.0  # MiB
ASKED = {
    "accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    "accept-encoding": "gzip",
}
_MIB = 1024 * 1024


class Scrapes(NamedTuple):
    """Figures of some scrapes."""

    seconds: float  #: median
    cpu: float  #: s of CPU, median
    lateness: float  #: s, median of the worst of each
    kept: float  #: bytes of memory more after the last than after the first ones
    size: int  #: bytes of an answer


async def scrapes(url: str, shown: int) -> Scrapes:
    """Fill a store and scrape it."""
    with tempfile.TemporaryDirectory() as home:
        async with metrics_of_many(url, Path(home), JOBS, shown=shown) as many:
            route = many.route
            for _ in range(ROUNDS):  # until every thread has its memory
                await timed(route)
            before = resident()
            times = [await timed(route) for _ in range(ROUNDS)]
            late = [await stillness(route) for _ in range(ROUNDS)]
            after = resident()
            size = len((await route.respond(ASKED)).body)
    return Scrapes(
        statistics.median(wall for wall, _ in times),
        statistics.median(cpu for _, cpu in times),
        statistics.median(late),
        after - before,
        size,
    )


async def timed(route: Route) -> tuple[float, float]:
    """Return the seconds of a scrape, and those of CPU in it."""
    began, worked = time.perf_counter(), time.process_time()
    await route.respond(ASKED)
    return time.perf_counter() - began, time.process_time() - worked


async def stillness(route: Route) -> float:
    """Return by how many seconds a timer was late at worst, during a scrape."""
    async with lateness() as worst:
        await route.respond(ASKED)
        # The timer of the last moment has to run to be counted.
        await asyncio.sleep(0.01)
        return worst()


def resident() -> int:
    """Return the bytes of memory that the process has, garbage aside."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def figures(fresh: FreshUrl) -> list[Figure]:
    """Return the lines of the table."""
    lines = []
    for engine in ENGINES:
        found = run(scrapes(fresh(engine), JOBS))
        few = run(scrapes(fresh(engine), SHOWN))
        lines += [
            took(f"a scrape of {JOBS:,} active jobs, gzip, {engine}", found),
            took(f"the same with {SHOWN:,} of them shown, {engine}", few),
            at_most(
                f"how late a timer is during it at worst, {engine}",
                found.lateness * 1e3,
                STILLEST,
                "ms",
                digits=1,
            ),
            at_most(
                f"memory that {2 * ROUNDS} such scrapes left behind, {engine}",
                found.kept / _MIB,
                KEPT,
                "MiB",
                digits=1,
            ),
        ]
    return lines


def took(what: str, found: Scrapes) -> Figure:
    """Return the line of a scrape's time."""
    about = f"{found.cpu * 1e3:.0f} ms CPU, {found.size / 1e6:.1f} MB"
    return at_most(what, found.seconds * 1e3, SLOWEST, "ms", ratio=about, digits=0)


if __name__ == "__main__":
    with engines() as lent:
        sys.stdout.write(as_text(figures(lent)) + "\n")
