"""What an organisation costs: many keys, many jobs that run, a long history.

The real daemon as a process, with the settings it comes with, against an API in a
process of its own. Run: `python -m bench scale` with `tests` on the path.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.engines import FreshUrl
from bench.loop import run
from bench.many_jobs_api import ManyJobs, many_jobs_api
from bench.report import Figure, at_most
from support.daemon_process import DaemonProcess
from support.program import Program

PROJECTS, JOBS = 100, 100
WARM_UP, SECONDS = 420.0, 120.0
MOST_MIB, MOST_CPU, LONGEST_WAIT = 150.0, 0.2, 60.0
MIB = 2**20


@dataclass(slots=True, kw_only=True)
class ManyKeys(DaemonProcess):
    """A daemon with a source for each of many keys, and nothing else configured."""

    hooks: Mapping[str, str] = field(default_factory=dict)
    projects: int = PROJECTS
    source: str = ""  #: further lines of every source

    def configure(self) -> Path:
        """Write the configuration file and return it."""
        lines = [
            f"[daemon]\nstate = '{self.state}'\nlisten = '127.0.0.1:{self.port}'",
            "log_format = 'json'",
            f"[source_defaults]\nbase_url = '{self.api_url}'\n{self.source}",
            *(
                f"[sources.project{n}]\napi_key_env = 'KEY_{n}'"
                for n in range(self.projects)
            ),
        ]
        path = self.program.directory / "tunewatch.toml"
        path.write_text("\n".join(lines))
        path.chmod(0o600)
        return path


def as_installed(directory: Path) -> Program:
    """Return the program without what only developers' tools bring.

    structlog takes rich along where it is there: 5 MiB that no installation has.
    """
    hidden = directory / "hidden"
    hidden.mkdir()
    (hidden / "rich.py").write_text(
        "raise ImportError('not in requirements/run.txt')\n"
    )
    return Program(directory, sites=(hidden,))


@asynccontextmanager
async def lived(daemon: ManyKeys) -> AsyncIterator[psutil.Process]:
    """Run a daemon until the block ends, and lend its process; it must end well."""
    await daemon.start()
    try:
        assert daemon.process is not None
        yield psutil.Process(daemon.process.pid)
        code, _ = await daemon.stop()
        assert code == 0, daemon.said()
    finally:
        await daemon.kill()


@asynccontextmanager
async def many_keys(directory: Path, api: ManyJobs) -> AsyncIterator[psutil.Process]:
    """Start the daemon on a store that exists, and lend its process."""
    daemon = ManyKeys(
        program=as_installed(directory),
        state=f"sqlite:///{directory / 'state.db'}",
        api_url=api.url,
        environ={f"KEY_{n}": f"sk-{n}" for n in range(PROJECTS)},
    )
    async with lived(daemon):
        pass  # makes the store, with what nobody needs later
    async with lived(daemon) as process:
        yield process


async def all_known(api: ManyJobs) -> None:
    """Wait until the first look at every job is over."""
    until = time.monotonic() + WARM_UP
    while (known := api.asked().known) < PROJECTS * JOBS:
        assert time.monotonic() < until, f"only {known} jobs were looked at"
        await asyncio.sleep(5.0)


async def many_running_jobs(directory: Path) -> list[Figure]:
    """Measure a while in which every job is looked at in turn."""
    with many_jobs_api(projects=PROJECTS, jobs=JOBS) as api:
        async with many_keys(directory, api) as process:
            await all_known(api)
            await asyncio.sleep(LONGEST_WAIT)
            api.asked()
            before, began = process.cpu_times(), time.monotonic()
            resident = 0
            while time.monotonic() - began < SECONDS:
                await asyncio.sleep(1.0)
                resident = max(resident, process.memory_info().rss)
            after, took = process.cpu_times(), time.monotonic() - began
            asked = api.asked()
    spent = after.user + after.system - before.user - before.system
    a_second = sum(asked.requests.values()) / took
    shown = ", ".join(f"{asked.requests[k]:,} {k}" for k in sorted(asked.requests))
    what = f"{PROJECTS * JOBS:,} running jobs over {PROJECTS} keys"
    return [
        at_most(
            f"{what}, resident",
            resident / MIB,
            MOST_MIB,
            "MiB",
            digits=0,
            ratio=f"{a_second:.0f} requests a second",
        ),
        at_most(
            f"{what}, of a core", spent / took, MOST_CPU, "", digits=2, ratio=shown
        ),
        at_most(
            f"{what}, longest wait of a job", asked.longest, LONGEST_WAIT, "s", digits=0
        ),
    ]


def figures(_fresh: FreshUrl) -> list[Figure]:
    """Return every line of this benchmark."""
    with tempfile.TemporaryDirectory() as directory:
        return run(many_running_jobs(Path(directory)))
