"""A long life in a short time: what the daemon holds must not grow.

The real daemon, on a clock that runs a thousand times as fast, watches an organisation
that trains day and night; its receiver is down now and then, and so is the API. After
the first days, when retention has begun to forget, nothing may grow any more. Takes an
hour for about forty days. Run: `make longevity`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench.report import Figure, as_text, at_most
from support.daemon_process import SECRET
from support.databases import free_port
from support.watching import until
from tunewatch.clock import FastClock
from tunewatch.testing import Fault, SimulatedApi, SimulatedClock
from tunewatch.testing.organisation import PROJECT_KEYS, Organisation

SPEED = 1000.0
DAY = 86400.0
RETENTION = 5.0  #: days; and of the delivery log
JOBS_A_DAY = 144.0
SCRAPE = 2.0  #: s of ours
LOOK = 30.0  #: s of ours between two looks into the store
TROUBLE = 300.0  #: s of ours between two troubles
ROWS = ("event", "job", "point", "attempt", "lane", "dead_letter", "tombstone")
MIB = 2**20
MOST_GROWTH = 1.05
MORE_FILES = 4  #: connections that are kept: as many as were ever needed at once
MOST_WAL = 64 * MIB


@dataclass(slots=True)
class Receiver:
    """Counts what comes, once each; can be down."""

    seen: set[int] = field(default_factory=set)
    arrivals: int = 0
    is_down: bool = False

    async def take(self, request: web.BaseRequest) -> web.Response:
        """Acknowledge, unless it is down."""
        await request.read()
        self.arrivals += 1
        if self.is_down:
            return web.Response(status=503)
        self.seen.add(hash(request.headers["webhook-id"]))
        return web.Response(status=204)


@dataclass(slots=True)
class Sample:
    """What was held at one time."""

    days: float
    resident: int
    files: int
    threads: int
    tasks: dict[str, int]


@dataclass(slots=True)
class Stored:
    """What the store held at one time."""

    days: float
    size: int
    log: int  #: bytes of the write-ahead log
    rows: dict[str, int]


@dataclass(slots=True)
class Life:
    """All samples of one run."""

    samples: list[Sample] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    scrapes: list[float] = field(default_factory=list)  #: s


def configuration(directory: Path, api_url: str, hook: str, port: int) -> Path:
    """Write the configuration and return its file."""
    sources = [
        f"[sources.{name}]\napi_key = '{key}'\nbase_url = '{api_url}'\n"
        for name, key in PROJECT_KEYS.items()
    ]
    path = directory / "tunewatch.toml"
    path.write_text(
        f"[daemon]\nstate = 'sqlite:///{directory / 'state.db'}'\n"
        f"listen = '127.0.0.1:{port}'\nretention = '{RETENTION * 24:g}h'\n"
        f"delivery_log = '{RETENTION * 24:g}h'\n"
        "[source_defaults]\npoll_interval = '3m'\nidle_interval = '5m'\n"
        + "\n".join(sources)
        + f"[plugins.hook]\nkind = 'webhook'\nurl = '{hook}'\nsecret = '{SECRET}'\n"
        "events = ['*']\nallow_hosts = ['127.0.0.1']\n"
    )
    path.chmod(0o600)
    return path


@asynccontextmanager
async def world(clock: FastClock, receiver: Receiver) -> AsyncIterator[tuple[str, str]]:
    """Serve the API and the receiver on the clock; yield both URLs."""
    simulated = SimulatedClock(start=clock.now(), scale=clock.speed, compress=False)
    api = SimulatedApi(seed=46, clock=simulated)
    organisation = Organisation(seed=46, jobs_per_hour=JOBS_A_DAY / 24)
    organisation.move_into(api, past=0)

    def date_as_simulated(_moment: float) -> None:
        api.date_offset = clock.now() - time.time()

    api.before_each.append(date_as_simulated)
    server = await asyncio.get_running_loop().create_server(
        web.Server(receiver.take), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    async with server, api.serve() as url, asyncio.TaskGroup() as tasks:
        troubles = tasks.create_task(_troubles(api, receiver), name="troubles")
        try:
            yield url, f"http://127.0.0.1:{port}/hook"
        finally:
            troubles.cancel()


async def _troubles(api: SimulatedApi, receiver: Receiver) -> None:
    """Let the receiver be down for hours, and the API answer 503, in turn."""
    chance = random.Random(46)
    while True:
        await asyncio.sleep(TROUBLE)
        receiver.is_down = True
        await asyncio.sleep(chance.uniform(3.0, 12.0))
        receiver.is_down = False
        await asyncio.sleep(TROUBLE)
        for status in (503, 429):
            api.fault("*", Fault.status(status), times=50)


async def _read(stdout: asyncio.StreamReader, life: Life) -> None:
    while line := await stdout.readline():
        life.samples.append(Sample(**json.loads(line)))


async def _scrape(port: int, life: Life) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            await asyncio.sleep(SCRAPE)
            began = time.monotonic()
            url = f"http://127.0.0.1:{port}/metrics"
            async with session.get(url) as response:
                await response.read()
            life.scrapes.append(time.monotonic() - began)


async def _look(path: Path, clock: FastClock, life: Life) -> None:
    while True:
        await asyncio.sleep(LOOK)
        life.stored.append(await asyncio.to_thread(_stored, path, clock))


def _stored(path: Path, clock: FastClock) -> Stored:
    wal = path.with_name(path.name + "-wal")
    uri = f"file:{path}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        rows = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - our names
            for table in ROWS
        }
    log = wal.stat().st_size if wal.exists() else 0
    return Stored(clock.monotonic() / DAY, path.stat().st_size, log, rows)


async def live(minutes: float, directory: Path, tell: Callable[[str], None]) -> Life:
    """Let the daemon live for so many minutes of ours; return what it held."""
    # In the past, so that nothing lies ahead of the machine's own clock.
    epoch = time.time() - minutes * 60 * SPEED - DAY
    clock = FastClock(SPEED, began=time.monotonic(), epoch=epoch)
    receiver, life, port = Receiver(), Life(), free_port()
    async with world(clock, receiver) as (api_url, hook):
        path = configuration(directory, api_url, hook, port)
        async with asyncio.TaskGroup() as tasks, _daemon(path, clock) as stdout:
            tasks.create_task(_read(stdout, life), name="reading")
            await until(lambda: life.samples, within=60.0, what="the daemon is ready")
            store = directory / "state.db"
            watching = [
                tasks.create_task(_scrape(port, life), name="scraping"),
                tasks.create_task(_look(store, clock, life), name="looking"),
            ]
            await _pass(minutes, clock, life, receiver, tell)
            for task in watching:
                task.cancel()
    return life


@asynccontextmanager
async def _daemon(path: Path, clock: FastClock) -> AsyncIterator[asyncio.StreamReader]:
    """Run the daemon, and yield what it tells; it must end well."""
    said = path.with_name("daemon.log")
    with said.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.fast_daemon", str(path), str(clock.speed)),
            *(repr(clock.began), repr(clock.epoch)),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    try:
        yield process.stdout
        process.terminate()
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert code == 0, said.read_text()[-4000:]


async def _pass(
    minutes: float,
    clock: FastClock,
    life: Life,
    receiver: Receiver,
    tell: Callable[[str], None],
) -> None:
    end = clock.began + minutes * 60
    while time.monotonic() < end:
        await asyncio.sleep(min(60.0, max(0.0, end - time.monotonic())))
        now = life.samples[-1]
        rows = life.stored[-1].rows if life.stored else {}
        size = life.stored[-1].size / MIB if life.stored else 0.0
        tell(
            f"day {now.days:5.1f}: {now.resident / MIB:.0f} MiB, {now.files} files,"
            f" {now.threads} threads, {sum(now.tasks.values())} tasks,"
            f" {size:.0f} MiB stored {rows}, {len(receiver.seen):,} events delivered"
        )


Quantity = Callable[[Any], float]


def grown(kept: Sequence[Any], quantity: Quantity, days: float) -> tuple[float, float]:
    """Return the median of the first and the last third after the settling days."""
    settled = [one for one in kept if one.days >= 2 * RETENTION]
    third = (days - 2 * RETENTION) / 3
    early = [quantity(one) for one in settled if one.days <= 2 * RETENTION + third]
    late = [quantity(one) for one in settled if one.days >= days - third]
    return statistics.median(early), statistics.median(late)


def figures(life: Life) -> list[Figure]:
    """Return what grew, and by how much."""
    days = life.samples[-1].days
    lines: list[Figure] = []
    for what, kept, quantity, more in (
        ("resident, MiB", life.samples, lambda one: one.resident / MIB, 0),
        ("open files", life.samples, lambda one: one.files, MORE_FILES),
        ("threads", life.samples, lambda one: one.threads, 0),
        ("tasks", life.samples, lambda one: sum(one.tasks.values()), 0),
        ("store, MiB", life.stored, lambda one: one.size / MIB, 0),
        ("events stored", life.stored, lambda one: one.rows["event"], 0),
        ("jobs stored", life.stored, lambda one: one.rows["job"], 0),
        ("attempts stored", life.stored, lambda one: one.rows["attempt"], 0),
    ):
        early, late = grown(kept, quantity, days)
        lines.append(
            at_most(
                f"{what}, day {2 * RETENTION:.0f} to {days:.0f}",
                late / early,
                round(max(MOST_GROWTH, 1 + more / early), 2),
                "times",
                digits=2,
                ratio=f"{early:,.0f} -> {late:,.0f}",
            )
        )
    log = max(one.log for one in life.stored) / MIB
    lines.append(at_most("write-ahead log", log, MOST_WAL / MIB, "MiB", digits=0))
    slowest = statistics.quantiles(life.scrapes, n=100)[98] * 1e3
    lines.append(Figure("p99 of a scrape", f"{slowest:.0f} ms"))
    return lines


def main() -> int:
    """Live, print what was held, fail if anything grew."""
    parser = argparse.ArgumentParser(prog="python -m bench.bench_longevity")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--keep", type=Path, help="where to leave all samples")
    asked = parser.parse_args()
    if asked.minutes * 60 * SPEED < 3 * RETENTION * DAY:
        least = 3 * RETENTION * DAY / SPEED / 60
        parser.error(f"--minutes: wanted {least:.0f} or more, to see retention at work")

    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")

    with tempfile.TemporaryDirectory() as directory:
        life = asyncio.run(live(asked.minutes, Path(directory), tell))
    if asked.keep is not None:
        asked.keep.write_text(json.dumps(asdict(life)))
    lines = figures(life)
    sys.stdout.write(as_text(lines) + "\n")
    return 0 if all(line.ok is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
