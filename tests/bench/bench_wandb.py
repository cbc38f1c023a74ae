"""What W&B costs: stillness of the loop, many points of one job, memory of a run.

Run: `python -m bench wandb` with `tests` on the path. The client is the real one,
online, against the tests' server in a process of its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.loop import run
from bench.report import Figure, as_text, at_most
from support.wandb_server import WandbServer
from support.wandb_story import Story, account
from tunewatch.plugin import Delivery, Sink
from tunewatch.testing.attempts import longest_hold
from tunewatch.testing.lent import LentJobs

RUNS = 50
ROUNDS = 10  #: events of each run
AT_ONCE = 8  #: deliveries, as by default
POINTS = 8_000
BATCH = 500  #: points of an event
STILLEST = 50.0  #: ms
LONGEST = 10.0  #: s
_MIB = 1024 * 1024


class Costs(NamedTuple):
    """What was measured."""

    opening: float  #: ms that the loop was held while the runs were opened
    running: float  #: ms that it was held while they were written to
    opened: float  #: s until all were open
    memory: float  #: MiB for a run, of this process and the helper
    points: float  #: s until the server had all points of one job


def serve(ready: Connection) -> None:
    """Serve until the process is ended."""
    with WandbServer().serve() as url:
        ready.send(url)
        ready.recv()


@contextmanager
def server() -> Iterator[str]:
    """Yield the address of a server in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


async def costs(url: str, directory: Path) -> Costs:
    """Measure once."""
    jobs = LentJobs()
    stories = [Story(jobs, f"ftjob-{n}") for n in range(RUNS)]
    long = Story(jobs, "ftjob-long")
    async with account(jobs, directory, url, finish_timeout="30s") as sink:
        await sink.deliver(long.trained(1))  # the helper is started by the first
        before = held()
        began = time.perf_counter()
        opening = await longest_hold(
            all_of(sink, [story.trained(1) for story in stories])
        )
        opened = time.perf_counter() - began
        memory = (held() - before) / RUNS
        running = 0.0
        for n in range(2, 2 + ROUNDS):
            events = [story.trained(n) for story in stories]
            running = max(running, await longest_hold(all_of(sink, events)))
        began = time.perf_counter()
        for first in range(2, POINTS + 2, BATCH):
            await sink.deliver(long.trained(*range(first, first + BATCH)))
        await sink.deliver(long.status("succeeded"))
        await sink.deliver(long.settles())
        points = time.perf_counter() - began
    return Costs(opening * 1e3, running * 1e3, opened, memory / _MIB, points)


async def all_of(sink: Sink, deliveries: list[Delivery]) -> None:
    """Deliver, as many at once as the dispatcher does by default."""
    left = iter(deliveries)

    async def work() -> None:
        for delivery in left:
            await sink.deliver(delivery)

    async with asyncio.TaskGroup() as tasks:
        for number in range(AT_ONCE):
            tasks.create_task(work(), name=f"work:{number}")


def held() -> int:
    """Return the bytes in memory of this process and the client's helper."""
    own = psutil.Process()
    helpers = [one for one in own.children() if one.name().startswith("wandb")]
    return sum(one.memory_info().rss for one in (own, *helpers))


def measured(url: str, directory: str) -> Costs:
    """Return all costs, on the daemon's loop."""
    return run(costs(url, Path(directory)))


def figures() -> list[Figure]:
    """Return the lines of the table."""
    with server() as url, tempfile.TemporaryDirectory() as directory:
        # In a process of its own: what other benchmarks left would be freed meanwhile.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            found = pool.submit(measured, url, directory).result()
    told = f"W&B, {RUNS} runs"
    return [
        at_most(
            f"{told}: the loop held while they open",
            found.opening,
            STILLEST,
            "ms",
            digits=1,
        ),
        at_most(
            f"{told}: the loop held while they are written to",
            found.running,
            STILLEST,
            "ms",
            digits=1,
        ),
        Figure(f"{told}: open after", f"{found.opened:.1f} s"),
        Figure(f"{told}: memory of one, online", f"{found.memory:.1f} MiB"),
        at_most(
            f"W&B, {POINTS:,} points of one job: with the server after",
            found.points,
            LONGEST,
            "s",
            digits=1,
        ),
    ]


if __name__ == "__main__":
    sys.stdout.write(as_text(figures()) + "\n")
