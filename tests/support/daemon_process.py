"""The real daemon as a process: configured, started, killed, stopped.

Knows the configuration file, signals, the log and what it answers; nothing of what it
delivers.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from support.databases import free_port
from support.program import Program, RunningProcess

KEY = "sk-simulated"
SECRET = "whsec_" + "Zm9yIHRlc3RzIG9ubHksIDMyIGJ5dGVzIG9mIGtleSE="
STARTED = 30.0
"""s for a daemon to be ready, on a machine that does other things too."""


@dataclass(slots=True, kw_only=True)
class DaemonProcess:
    """One daemon, one after the other: each start is a new process."""

    program: Program
    state: str
    api_url: str
    hooks: Mapping[str, str]  #: webhook tables: name to URL
    grace: float = 5.0
    delivery: str = "timeout = '10s', concurrency = 8"
    interval: str = "200ms"
    environ: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: RunningProcess | None = None
    starts: int = 0

    @property
    def log(self) -> Path:
        """Where everything that its processes said is kept."""
        return self.program.directory / "daemon.log"

    def configure(self) -> Path:
        """Write the configuration file and return it."""
        daemon = (
            f"[daemon]\nstate = '{self.state}'\nlisten = '127.0.0.1:{self.port}'\n"
            f"log_format = 'json'\nshutdown_grace = '{self.grace:g}s'\n"
        )
        source = (
            f"{self.tables()}\n[source_defaults]\n"
            f"poll_interval = '{self.interval}'\nidle_interval = '200ms'\n"
            "settle_window = '1s'\nrequests_per_minute = 60000\nbackfill = 'all'\n"
        )
        hooks = [
            f"[plugins.{name}]\nkind = 'webhook'\nurl = '{url}'\nevents = ['*']\n"
            f"secret = '{SECRET}'\nallow_hosts = ['127.0.0.1']\n"
            f"delivery = {{ {self.delivery} }}\n"
            for name, url in self.hooks.items()
        ]
        path = self.program.directory / "tunewatch.toml"
        path.write_text("\n".join((daemon, source, *hooks)))
        path.chmod(0o600)
        return path

    def tables(self) -> str:
        """Return the tables of what is polled."""
        return f"[sources.research]\napi_key = '{KEY}'\nbase_url = '{self.api_url}'"

    async def spawn(self) -> RunningProcess:
        """Start a process and do not wait for it."""
        is_over = self.process is None or self.process.returncode is not None
        assert is_over, "the last one has to end before the next one starts"
        config = self.configure()
        run = ("run", "--config", str(config))
        self.process = await self.program.spawn(*run, said=self.log, **self.environ)
        self.starts += 1
        return self.process

    async def start(self) -> float:
        """Start a process, wait until it is ready; return the seconds it took."""
        began = time.monotonic()
        process = await self.spawn()
        await self.ready(process)
        return time.monotonic() - began

    async def ready(self, process: RunningProcess) -> None:
        """Wait until `/readyz` says 200; fail with the log if it never does."""
        url = f"http://127.0.0.1:{self.port}/readyz"
        deadline = time.monotonic() + STARTED
        async with aiohttp.ClientSession() as session:
            while True:
                assert process.returncode is None, self.ended()
                assert time.monotonic() < deadline, self.said()
                with suppress(aiohttp.ClientError):
                    async with session.get(url) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self, *, within: float = 30.0) -> tuple[int, float]:
        """Send SIGTERM; return the exit code and the seconds it took."""
        assert self.process is not None
        assert self.process.returncode is None, self.ended()
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(within):
            code = await self.process.wait()
        return code, time.monotonic() - began

    def ended(self) -> str:
        """Say how it ended although nobody asked it to."""
        code = None if self.process is None else self.process.returncode
        return f"it ended by itself with {code}: {self.said()}"

    def said(self, characters: int = 4000) -> str:
        """Return the end of its log."""
        return self.log.read_text()[-characters:]

    def log_size(self) -> int:
        """Return how many bytes it has said so far."""
        return self.log.stat().st_size if self.log.exists() else 0

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of its log about one event."""
        lines = self.log.read_text().splitlines()
        found = (json.loads(line) for line in lines if line.startswith("{"))
        return [line for line in found if line["event"] == event]

    async def asked(self, path: str) -> tuple[int, str]:
        """Ask it for a path; return the status of the answer, and its text."""
        url = f"http://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def metric(self, name: str) -> float:
        """Return the value of the only series whose line begins like that."""
        _, text = await self.asked("/metrics")
        [line] = [one for one in text.splitlines() if one.startswith(name)]
        return float(line.rpartition(" ")[2])


@asynccontextmanager
async def daemon_process(
    directory: Path,
    *,
    state: str,
    api_url: str,
    hooks: Mapping[str, str],
    grace: float = 5.0,
    kind: type[DaemonProcess] = DaemonProcess,
    is_cold: bool = False,
) -> AsyncIterator[DaemonProcess]:
    """Lend a daemon that is not started yet; whatever is left of it is killed."""
    daemon = kind(
        program=Program(directory, is_cold=is_cold),
        state=state,
        api_url=api_url,
        hooks=hooks,
        grace=grace,
    )
    try:
        yield daemon
    finally:
        if daemon.process is not None:
            await daemon.kill()


def hook_names(count: int) -> Sequence[str]:
    """Return names for so many webhook tables."""
    return [f"hook{number:02}" for number in range(count)]
