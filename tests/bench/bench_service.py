"""What a service manager waits for: a start on a full store, and a reload.

The real daemon as a process. Run: `python -m bench service` with `tests` on the path.
"""

from __future__ import annotations

import json
import signal
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.bench_scale import ManyKeys, as_installed
from bench.engines import FreshUrl
from bench.loop import run
from bench.many_jobs_api import ManyJobs, many_jobs_api
from bench.report import Figure, at_most
from support.daemon_process import SECRET
from support.filled_store import Filling
from support.watching import until
from tunewatch.clock import SystemClock
from tunewatch.store.opening import open_store

STORED, SOURCES = 10_000, 100
ROUNDS = 5
LONGEST_START, LONGEST_RELOAD = 2.0, 1.0
_EVERY = "poll_interval = '{}s'"
_HOOK = (
    "[plugins.ops]\nkind = 'webhook'\nurl = 'https://hooks.example.com/{}'\n"
    f"secret = '{SECRET}'\n"
)


def daemon_of(directory: Path, api: ManyJobs, sources: int) -> ManyKeys:
    """Return a daemon with so many keys, on a store in the directory."""
    return ManyKeys(
        program=as_installed(directory),
        state=f"sqlite:///{directory / 'state.db'}",
        api_url=api.url,
        projects=sources,
        source=_EVERY.format(15),
        environ={f"KEY_{n}": f"sk-{n}" for n in range(sources)},
    )


@asynccontextmanager
async def running(daemon: ManyKeys) -> AsyncIterator[float]:
    """Run a daemon until the block ends; lend the seconds until it was ready."""
    try:
        yield await daemon.start()
        code, _ = await daemon.stop()
        assert code == 0, daemon.said()
    finally:
        await daemon.kill()


async def cold_starts(directory: Path) -> list[Figure]:
    """Start on a store with many jobs, one time after the other."""
    url = f"sqlite:///{directory / 'state.db'}"
    async with open_store(url, clock=SystemClock(), owner="bench") as store:
        await Filling(store).many(STORED)
    took = []
    with many_jobs_api(projects=1, jobs=0) as api:
        daemon = daemon_of(directory, api, 0)
        lines = (
            f"base_url = '{api.url}'\napi_key = 'sk-0'\nrealm = 'openai:https://api'"
        )
        beside = directory / "conf.d"
        beside.mkdir()
        (beside / "research.toml").write_text(f"[sources.research]\n{lines}\n")
        for _ in range(ROUNDS):
            async with running(daemon) as seconds:
                took.append(seconds)
    what = f"from nothing to ready, on a store with {STORED:,} jobs"
    return [at_most(what, statistics.median(took), LONGEST_START, "s", digits=2)]


async def reloads(directory: Path) -> list[Figure]:
    """Change one plugin, then every source, under a daemon with many of them."""
    one, all_of_them = [], []
    hook = directory / "conf.d" / "ops.toml"
    hook.parent.mkdir()
    hook.write_text(_HOOK.format("first"))
    with many_jobs_api(projects=SOURCES, jobs=5) as api:
        daemon = daemon_of(directory, api, SOURCES)
        async with running(daemon):
            await until(
                lambda: daemon.log.read_text().count('"lease.held"') >= SOURCES,
                within=60.0,
                what="every source is held",
            )
            for number in range(ROUNDS):
                hook.write_text(_HOOK.format(number))
                one.append(await reload(daemon))
                daemon.source = _EVERY.format(16 + number)
                all_of_them.append(await reload(daemon))
    return [
        at_most(
            f"a reload with {SOURCES} sources, {what} changed",
            statistics.median(took),
            LONGEST_RELOAD,
            "s",
            digits=2,
        )
        for what, took in (("one plugin", one), ("all of them", all_of_them))
    ]


async def reload(daemon: ManyKeys) -> float:
    """Let the daemon read its configuration again; return the seconds it took."""

    def reloaded() -> list[str]:
        text = daemon.log.read_text()
        return [line for line in text.splitlines() if '"config.reloaded"' in line]

    before = len(reloaded())
    daemon.configure()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    await until(lambda: len(reloaded()) > before, within=30.0, what="it is reloaded")
    seconds: float = json.loads(reloaded()[-1])["seconds"]
    return seconds


def figures(_fresh: FreshUrl) -> list[Figure]:
    """Return every line of this benchmark."""
    found = []
    for measure in (cold_starts, reloads):
        with tempfile.TemporaryDirectory() as directory:
            found += run(measure(Path(directory)))
    return found
