"""A real mosquitto on loopback, which its test can kill and start again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ANYBODY = ("allow_anonymous true", "log_type all")
_PATIENCE = 20.0  # s
_ITSELF = "$SYS/broker/version"


def free_port() -> int:
    """Return a port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Mosquitto:
    """A broker: `start` it, `kill` it, and it comes back on the same port."""

    home: Path
    settings: Sequence[str] = ANYBODY
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.home / "mosquitto.log").read_text()

    @property
    def published(self) -> int:
        """How many messages came so far, if `log_type all` is among its settings."""
        return self.log.count("Received PUBLISH")

    def start(self) -> None:
        """Start it and wait until it listens."""
        config = self.home / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", *self.settings]
        config.write_text("\n".join((*lines, "user root", "")))
        with (self.home / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", str(config)], stdout=log, stderr=log
            )
        limit = time.monotonic() + _PATIENCE
        while not self._listens():
            assert self._process.poll() is None, f"mosquitto ended: {self.log}"
            assert time.monotonic() < limit, f"mosquitto does not listen: {self.log}"
            time.sleep(0.005)

    def kill(self) -> None:
        """End it without a word, as a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it hold its connections and do nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=_PATIENCE)
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def mosquitto(home: Path, *settings: str) -> Iterator[Mosquitto]:
    """Run a broker with these lines of configuration until the block ends."""
    home.mkdir(exist_ok=True)
    broker = Mosquitto(home, settings or ANYBODY)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@dataclass(slots=True)
class Heard:
    """One message as a subscriber got it."""

    topic: str
    payload: bytes
    is_retained: bool
    content_type: str | None
    properties: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.payload)


@dataclass(slots=True)
class Listener:
    """`mosquitto_sub` in a process of its own: what a receiver really hears."""

    process: asyncio.subprocess.Process
    heard: list[Heard] = field(default_factory=list)

    async def until(self, topic: str, payload: bytes | None = None) -> Heard:
        """Return the first message on a topic, with a payload if one is asked for."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                for one in self.heard:
                    if one.topic == topic and payload in (None, one.payload):
                        return one
                await self.next()

    def on(self, topic: str) -> list[Heard]:
        return [one for one in self.heard if one.topic == topic]

    async def quiet(self) -> None:
        """Wait until nothing more has come for a moment."""
        while True:
            try:
                async with asyncio.timeout(0.3):
                    await self.next()
            except TimeoutError:
                return

    async def next(self) -> None:
        """Wait for one more message."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "mosquitto_sub ended"
        said = json.loads(line)
        more = said.get("properties", {})
        self.heard.append(
            Heard(
                said["topic"],
                (said.get("payload") or "").encode(),
                bool(said["retain"]),
                more.get("content-type"),
                more.get("user-properties", {}),
            )
        )


@asynccontextmanager
async def listening(port: int, *topics: str, **options: str) -> AsyncIterator[Listener]:
    """Subscribe as a stranger does; the block begins when that counts."""
    more = [word for key, value in options.items() for word in (f"--{key}", value)]
    # What the broker says of itself is retained: with it all that was asked for counts.
    wanted = [word for topic in (*topics, _ITSELF) for word in ("-t", topic)]
    process = await asyncio.create_subprocess_exec(
        *("mosquitto_sub", "-V", "5", "-h", "127.0.0.1", "-p", str(port), "-q", "1"),
        *("-F", "%j", *more, *wanted),
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 22,
    )
    listener = Listener(process)
    try:
        await listener.until(_ITSELF)
        yield listener
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def retained(port: int, topic: str, **options: str) -> dict[str, bytes]:
    """Return what a late subscriber is told at once, by topic."""
    async with listening(port, topic, **options) as late:
        await late.quiet()
        return {
            one.topic: one.payload
            for one in late.heard
            if one.is_retained and one.topic != _ITSELF
        }
