"""The daemon as a process, as its users run it: configured by a file, told by signals.

Its log goes to a file, one JSON line each; `Running` reads that, its HTTP answers and
its exit code, and lends the command line beside it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from support.program import Ended, Program, RunningProcess
from support.receiver_server import free_port

PATIENCE = 30.0  #: s for anything that is waited for

QUICK = """
poll_interval = "200ms"
idle_interval = "200ms"
settle_window = "600ms"
requests_per_minute = 60000
"""
"""Keys of a source that is looked at often."""


@dataclass(slots=True)
class Running:
    """A daemon that runs."""

    program: Program
    process: RunningProcess
    port: int
    said: Path  #: what it wrote to stderr
    session: aiohttp.ClientSession
    origin: str = "http://127.0.0.1"
    answers: list[str] = field(default_factory=list)  #: every body it answered

    async def get(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, str, aiohttp.typedefs.LooseHeaders]:
        """Ask its HTTP server; return status, body and headers."""
        url = f"{self.origin}:{self.port}{path}"
        async with self.session.request(method, url, headers=headers) as answer:
            body = await answer.text()
            self.answers.append(body)
            return answer.status, body, answer.headers

    async def ready(self) -> tuple[int, Any]:
        """Ask how it is."""
        status, body, _ = await self.get("/readyz")
        return status, json.loads(body)

    async def part(self, kind: str, name: str) -> dict[str, Any]:
        """Return how one source or plugin is."""
        _, report = await self.ready()
        found: dict[str, Any] = report[kind][name]
        return found

    async def metrics(self) -> dict[str, float]:
        """Return its series: name with labels as they are written, and value."""
        _, body, _ = await self.get("/metrics")
        lines = (line for line in body.splitlines() if not line.startswith("#"))
        return {
            series: float(value)
            for series, _, value in (line.rpartition(" ") for line in lines)
        }

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the log lines so far, of one event name or all."""
        written = self.said.read_bytes()
        whole = written[: written.rfind(b"\n") + 1]
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if event in (None, line["event"])]

    async def logged(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait for a log line with these fields and return it."""

        def found() -> dict[str, Any] | None:
            for line in self.log(event):
                if fields.items() <= line.items():
                    return line
            return None

        await eventually(found, f"a log line {event} {fields}")
        line = found()
        assert line is not None
        return line

    async def cli(self, *arguments: str) -> Ended:
        """Run a command beside it, with the same configuration."""
        return await asyncio.to_thread(self.program, *arguments)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(how)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


async def eventually(
    condition: Callable[[], Any], what: str, *, within: float = PATIENCE
) -> None:
    """Wait until a condition (or the coroutine it returns) holds."""
    try:
        async with asyncio.timeout(within):
            while True:
                held = condition()
                if asyncio.iscoroutine(held):
                    held = await held
                if held:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s: {what}") from None


@asynccontextmanager
async def spawned(program: Program, *arguments: str, said: Path) -> AsyncIterator[Any]:
    """Run a command until the block ends; it is killed if it is still there."""
    process = await program.spawn(*arguments, said=said)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def running(
    program: Program,
    *arguments: str,
    wait: bool = True,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Running]:
    """Run the daemon until the block ends; it listens on a port of its own.

    `tls` is how it is trusted, if it speaks TLS.
    """
    port = free_port()
    program.environ["TUNEWATCH_DAEMON__LISTEN"] = f"127.0.0.1:{port}"
    said = program.directory / f"said-{port}.jsonl"
    async with (
        spawned(program, "run", *arguments, said=said) as process,
        aiohttp.ClientSession(connector=_connector(tls)) as session,
    ):
        daemon = Running(program, process, port, said, session)
        if tls is not None:
            daemon.origin = "https://localhost"
        if wait:
            await eventually(lambda: _has_started(daemon), "the daemon has started")
        yield daemon


def _connector(tls: ssl.SSLContext | None) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(ssl=True if tls is None else tls)


async def _has_started(daemon: Running) -> bool:
    assert daemon.process.returncode is None, daemon.said.read_text()
    try:
        _, report = await daemon.ready()
    except aiohttp.ClientError:
        return False
    return "it is starting" not in report["reasons"]


async def ended(program: Program, *arguments: str) -> Ended:
    """Run a command to its end without holding up the loop, on any free port."""
    program.environ.setdefault("TUNEWATCH_DAEMON__LISTEN", "127.0.0.1:0")
    return await asyncio.to_thread(program, *arguments)


def configure(program: Program, text: str, *, state: str | None = None) -> Path:
    """Write the configuration that the program is going to use."""
    kept = state or f"sqlite:///{program.directory / 'state.db'}"
    path = program.directory / "tunewatch.toml"
    head = f'[daemon]\nstate = "{kept}"\nlog_level = "debug"\nshutdown_grace = "2s"\n'
    path.write_text(head + text)
    path.chmod(0o600)  # there are keys in it
    program.environ["TUNEWATCH_CONFIG"] = str(path)
    return path
