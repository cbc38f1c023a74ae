"""A receiver for many plugins that remembers what it acknowledged: the oracle.

Each plugin has a path of its own. What is kept is what a judge needs, and no body, so
that a thousand kills fit into memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from aiohttp import web


class _Data(msgspec.Struct):
    id: str
    sequence: int


class _Body(msgspec.Struct):
    id: str
    type: str
    data: _Data


_read = msgspec.json.Decoder(_Body)


@dataclass(slots=True)
class Known:
    """One event as one plugin has told it."""

    digest: bytes
    job: str
    sequence: int
    arrivals: int = 0
    acknowledged: int = 0
    life: int = 0  #: of the daemon, at the last arrival
    sender: str = ""  #: of the last arrival, see `Recording.heard`
    status: int = 0  #: of the last answer


class Moment(NamedTuple):
    """When something came, or was acknowledged, by the monotonic clock."""

    at: float
    plugin: str
    event_id: str
    digest: bytes
    is_acknowledged: bool


LATE = 5.0
"""s after it goes on within which what a frozen sender had begun to send arrives."""


@dataclass(slots=True)
class Recording:
    """What came, what was acknowledged, and what should not have been."""

    chance: random.Random
    slowness: float = 0.02  #: s, the longest that an answer takes
    life: int = 0  #: of the daemon: raised by whoever kills it
    answer: Callable[[str], int | None] = lambda _plugin: 200
    """The status for a plugin; None: never answer."""
    uncalled: list[str] = field(default_factory=list)
    """Came twice in one life of the daemon although it was acknowledged."""
    ill: set[str] = field(default_factory=set)
    """Senders that may not get to write what was acknowledged: others repeat it."""
    well_since: dict[str, float] = field(default_factory=dict)
    """When senders that were ill were well again, monotonic."""
    known: dict[tuple[str, str], Known] = field(default_factory=dict)
    newest: dict[tuple[str, str], int] = field(default_factory=dict)
    arrivals: int = 0
    repeats: Counter[int] = field(default_factory=Counter)
    """By the life whose end made them necessary: that of the arrival before."""
    inversions: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    bodies: list[tuple[int, str, bytes]] | None = None
    """Every arrival with its life and plugin, if a test wants to read them."""
    diary: list[Moment] | None = None
    """Every arrival and every yes in their order, if a test wants to know."""
    heard: dict[str, float] = field(default_factory=dict)
    """When something came last, by what follows the `?` of a hook's address."""
    port: int = 0

    def url(self, plugin: str) -> str:
        """Return where a plugin is to send."""
        return f"http://127.0.0.1:{self.port}/{plugin}"

    async def silence(self) -> None:
        """Wait until nothing comes any more from a daemon that was killed."""
        before = -1
        while before != self.arrivals:
            before = self.arrivals
            await asyncio.sleep(0.05)

    def keep_only(self, event_ids: set[str]) -> None:
        """Forget all other events: the store is another one from now on."""
        self.known = {
            key: known for key, known in self.known.items() if key[1] in event_ids
        }
        self.newest.clear()
        for (plugin, _), known in self.known.items():
            lane = (plugin, known.job)
            self.newest[lane] = max(self.newest.get(lane, 0), known.sequence)

    def acknowledged(self, plugin: str, event_id: str) -> Known | None:
        """Return what a plugin was acknowledged, None if it never was."""
        known = self.known.get((plugin, event_id))
        return known if known is not None and known.acknowledged else None

    def acknowledged_of(self, plugin: str) -> int:
        """Return how many different events of a plugin were acknowledged."""
        return sum(
            1
            for (name, _), known in self.known.items()
            if name == plugin and known.acknowledged
        )

    async def take(self, request: web.Request) -> web.Response:
        """Note an arrival; acknowledge it a moment later, if it lives so long."""
        body = await request.read()
        plugin = request.path[1:]
        self.heard[request.query_string] = time.monotonic()
        event_id = request.headers.get("webhook-id", "")
        known = self._note(plugin, request, body)
        self._enter(plugin, event_id, known, is_acknowledged=False)
        if self.slowness:
            await asyncio.sleep(self.chance.uniform(0.0, self.slowness))
        status = self.answer(plugin)
        if status is None:
            await asyncio.Event().wait()
            raise AssertionError("it waits for ever")
        known.status = status
        if 200 <= status < 300:
            known.acknowledged += 1
            self._enter(plugin, event_id, known, is_acknowledged=True)
        return web.Response(status=status)

    def _enter(
        self, plugin: str, event_id: str, known: Known, *, is_acknowledged: bool
    ) -> None:
        if self.diary is not None:
            moment = time.monotonic()
            self.diary.append(
                Moment(moment, plugin, event_id, known.digest, is_acknowledged)
            )

    def _note(self, plugin: str, request: web.Request, body: bytes) -> Known:
        told = _read.decode(body)
        header = request.headers.get("webhook-id", "")
        digest = hashlib.blake2b(body, digest_size=16).digest()
        self.arrivals += 1
        if self.bodies is not None:
            self.bodies.append((self.life, plugin, body))
        if header != told.id:
            self.misnamed.append(f"{plugin}: {told.id} came as {header!r}")
        known = self.known.get((plugin, told.id))
        if known is None:
            known = Known(digest, told.data.id, told.data.sequence, life=self.life)
            self.known[plugin, told.id] = known
            self._judge_order(plugin, known, told.id)
        else:
            self.repeats[known.life] += 1
            if known.acknowledged and not self._is_excused(known, request.query_string):
                self.uncalled.append(f"{plugin}: {told.id} in life {self.life}")
            known.life = self.life
            if known.digest != digest:
                self.altered.append(f"{plugin}: {told.id} has other bytes than before")
        known.sender = request.query_string
        known.arrivals += 1
        return known

    def _is_excused(self, known: Known, sender: str) -> bool:
        if known.life != self.life or known.sender in self.ill:
            return True
        if sender == known.sender:
            return False
        # One that stood still between its last look at its lease and the sending sends
        # when it goes on, whether the other who has the source by now did so or not.
        now = time.monotonic()
        return any(
            now - self.well_since.get(one, -math.inf) < LATE
            for one in (sender, known.sender)
        )

    def _judge_order(self, plugin: str, known: Known, event_id: str) -> None:
        lane = (plugin, known.job)
        before = self.newest.get(lane, 0)
        if known.sequence <= before:
            self.inversions.append(
                f"{plugin}: {event_id} of {known.job} has sequence {known.sequence}"
                f" and came after {before}"
            )
        self.newest[lane] = max(before, known.sequence)


@asynccontextmanager
async def recording(
    chance: random.Random, *, slowness: float = 0.02
) -> AsyncIterator[Recording]:
    """Run a receiver on loopback until the block ends."""
    got = Recording(chance, slowness)
    app = web.Application(client_max_size=0)
    app.router.add_post("/{plugin}", got.take)
    # A killed daemon's connections must end their handlers: no answer, no yes.
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        got.port = runner.addresses[0][1]
        yield got
    finally:
        await runner.cleanup()
