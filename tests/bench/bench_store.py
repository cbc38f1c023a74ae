"""How fast the store commits, on both engines: `python tests/bench/bench_store.py`.

Every figure is of whole commits through the journal: fence, state before, diff, state
after, events, totals, and a disk that was told to sync. Prints a table with the bars.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
for folder in (_TESTS, _TESTS.parent / "daemon", _TESTS.parent / "plugins"):
    sys.path.insert(0, str(folder))

from support.databases import postgres_server  # noqa: E402 - by path
from support.stores import Desk, message, open_desk, raw_job  # noqa: E402 - by path

SINGLE = 400
BURST = 1000
BARS = {
    ("sqlite", "single commits/s"): 500,
    ("postgresql", "single commits/s"): 350,
    ("sqlite", "events/s in bursts of 1,000, one job"): 20_000,
    ("postgresql", "events/s in bursts of 1,000, one job"): 10_000,
    ("sqlite", "events/s in bursts of 1,000, 20 jobs"): 20_000,
    ("postgresql", "events/s in bursts of 1,000, 20 jobs"): 10_000,
}


async def single(desk: Desk) -> float:
    """Commit one event after the other."""
    await desk.saw("a", raw=raw_job("a"))
    before = time.perf_counter()
    for number in range(SINGLE):
        await desk.saw("a", entries=(message(number),))
    return SINGLE / (time.perf_counter() - before)


async def eight(desk: Desk) -> float:
    """Commit one event after the other, eight jobs at a time."""

    async def one(job_id: str) -> None:
        await desk.saw(job_id, raw=raw_job(job_id))
        for number in range(SINGLE // 4):
            await desk.saw(job_id, entries=(message(number),))

    before = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(one(f"e{number}"), name=f"job:{number}")
    return 2 * SINGLE / (time.perf_counter() - before)


def burst(jobs: int) -> Callable[[Desk], Awaitable[float]]:
    """Commit a thousand events in one transaction, spread over jobs."""

    async def run(desk: Desk) -> float:
        figures = []
        for number in range(8):
            first = number * BURST
            looks = [
                desk.look(
                    f"b{jobs}-{job}",
                    raw=raw_job(f"b{jobs}-{job}"),
                    entries=tuple(message(first + n) for n in range(job, BURST, jobs)),
                )
                for job in range(jobs)
            ]
            heard = len(desk.heard)
            before = time.perf_counter()
            await desk.commit(*looks)
            spent = time.perf_counter() - before
            figures.append((len(desk.heard) - heard) / spent)
        return statistics.median(figures)

    return run


async def silent_page(desk: Desk) -> float:
    """Record a page of 100 jobs that ended long ago."""
    looks = [
        desk.look(f"s{n}", raw=raw_job(f"s{n}", "succeeded"), silent=True)
        for n in range(100)
    ]
    before = time.perf_counter()
    await desk.commit(*looks)
    return 100 / (time.perf_counter() - before)


FIGURES: dict[str, Callable[[Desk], Awaitable[float]]] = {
    "single commits/s": single,
    "commits/s, eight at a time": eight,
    "events/s in bursts of 1,000, one job": burst(1),
    "events/s in bursts of 1,000, 20 jobs": burst(20),
    "silent jobs/s, a page of 100": silent_page,
}


async def measure(url: str) -> None:
    """Print the figures of one engine."""
    async with open_desk(url) as desk:
        engine = desk.store.dialect
        for name, figure in FIGURES.items():
            bar = BARS.get((engine, name))
            value = await figure(desk)
            text = f"{value:>10,.0f} {bar or '':>8}"
            print(f"{engine:<11} {name:<38} {text}")  # noqa: T201 - its purpose


def main() -> None:
    """Measure SQLite, then PostgreSQL."""
    print(f"{'engine':<11} {'what':<38} {'figure':>10} {'bar':>8}")  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as directory:
        asyncio.run(measure(f"sqlite:///{directory}/state.db"))
    with postgres_server() as server:
        asyncio.run(measure(server.create()))


if __name__ == "__main__":
    main()
