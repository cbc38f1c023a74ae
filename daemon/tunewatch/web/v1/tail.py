"""The end of the log, read once for all who follow it.

Positions are commit order, so reading on from the last one skips nothing, whichever
replica committed. What this replica commits wakes it; for the others it looks again
and again. Knows no request.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Protocol

import msgspec
import structlog
from msgspec import Struct

from tunewatch.store.records import StoreFault
from tunewatch.store.told import StoredEvent

EVERY = 0.5
"""s between looks for what other replicas committed."""
KEPT = 2_000
"""Events kept in memory for followers that are not far behind, at most."""
KEPT_BYTES = 8 * 1024 * 1024
"""Bytes of their bodies, at most."""
AT_ONCE = 200
"""Events read at once, for all."""
BEHIND = 20
"""Events read at once for one follower who is far behind."""

_log = structlog.get_logger(__name__)


class Log(Protocol):
    """Where events are read."""

    async def events(self, *, after: int = 0, limit: int = 100) -> list[StoredEvent]:
        """Return events above a position, oldest first."""
        ...

    async def positions(self) -> tuple[int, int]:
        """Return the position of the oldest event, and of the newest taken."""
        ...


class Told(NamedTuple):
    """An event as followers choose it."""

    position: int
    id: str
    type: str
    owner: str  #: the job's id, or the source's name
    source: str
    body: bytes


class _Data(Struct, frozen=True):
    id: str
    source: str


class _Head(Struct, frozen=True):
    data: _Data


_heads = msgspec.json.Decoder(_Head)


class Tail:
    """The newest events, and a word when there are more."""

    def __init__(
        self,
        log: Log,
        *,
        every: float = EVERY,
        kept: int = KEPT,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._log = log
        self._every = every
        self._most, self._most_bytes = kept, kept_bytes
        self._kept: deque[Told] = deque()
        self._bytes = 0
        self._floor = self._newest = 0  #: what is kept is above, up to
        self._followers = 0
        self._wake = asyncio.Event()
        self._grown = asyncio.Event()
        self._is_away = False
        self._is_over = False
        self._era = 0  # rises whenever those who follow have to go

    def woken(self, *_committed: object) -> None:
        """Look at once: something was committed here."""
        self._wake.set()

    def end(self) -> None:
        """Let every follower go, and who comes later, too: the server stops."""
        self._is_over = True
        self._grown.set()

    def dismiss(self) -> None:
        """Let every follower there is go: it might not be let in any more."""
        self._era += 1
        self._grown.set()

    def has_ended(self, era: int) -> bool:
        """Whether who began to follow in an era has to go."""
        return self._is_over or self._era != era

    def __enter__(self) -> Follower:
        """Begin to follow."""
        self._followers += 1
        self._wake.set()
        return Follower(self, self._era)

    def __exit__(self, *_exc: object) -> None:
        """Follow no more."""
        self._followers -= 1

    @property
    def followers(self) -> int:
        """How many follow."""
        return self._followers

    async def after(self, position: int) -> Sequence[Told]:
        """Return some events above a position, none if there are none yet.

        From memory for who is not far behind, else from the store. Raises StoreFault.
        """
        if position >= self._newest:
            return ()
        if position >= self._floor:
            first = bisect_right(self._kept, position, key=lambda told: told.position)
            last = min(first + AT_ONCE, len(self._kept))
            return [self._kept[at] for at in range(first, last)]
        return _told(await self._log.events(after=position, limit=BEHIND))

    async def growth(self, position: int, era: int) -> None:
        """Return when there may be events above a position, or that era has ended."""
        while self._newest <= position and not self.has_ended(era):
            self._grown.clear()
            await self._grown.wait()

    async def run(self) -> NoReturn:
        """Read on for as long as anybody follows."""
        while True:
            if not self._followers:
                await self._follower()
                self._forget()
            try:
                await self._read_on()
            except StoreFault as fault:
                self._away(fault.reason)
            try:
                async with asyncio.timeout(self._every):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _follower(self) -> None:
        """Return when somebody follows: every commit wakes, and asks for nothing."""
        while not self._followers:
            self._wake.clear()
            await self._wake.wait()

    def _forget(self) -> None:
        """Begin anew: what was committed while nobody followed is not kept."""
        self._kept.clear()
        self._bytes = self._floor = self._newest = 0

    async def _read_on(self) -> None:
        if not self._newest:
            _, self._newest = await self._log.positions()
            self._floor = self._newest
        while found := await self._log.events(after=self._newest, limit=AT_ONCE):
            self._keep(_told(found))
            self._grown.set()
            if len(found) < AT_ONCE:
                break
        self._grown.set()
        self._back()

    def _keep(self, more: Sequence[Told]) -> None:
        self._kept.extend(more)
        self._bytes += sum(len(told.body) for told in more)
        self._newest = more[-1].position
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            gone = self._kept.popleft()
            self._bytes -= len(gone.body)
            self._floor = gone.position

    def _away(self, reason: str) -> None:
        if not self._is_away:
            _log.warning("stream.store_away", reason=reason)
        self._is_away = True

    def _back(self) -> None:
        if self._is_away:
            _log.info("stream.store_back")
        self._is_away = False


@dataclass(frozen=True, slots=True)
class Follower:
    """One who follows, until it goes or has to."""

    tail: Tail
    era: int

    @property
    def has_to_go(self) -> bool:
        """Whether it was dismissed, or the server stops."""
        return self.tail.has_ended(self.era)

    async def after(self, position: int) -> Sequence[Told]:
        """See `Tail.after`."""
        return await self.tail.after(position)

    async def growth(self, position: int) -> None:
        """Return when there may be events above a position, or it has to go."""
        await self.tail.growth(position, self.era)


def _told(found: Sequence[StoredEvent]) -> list[Told]:
    told = []
    for one in found:
        data = _heads.decode(one.body).data
        told.append(
            Told(one.position, one.id, one.type, data.id, data.source, one.body)
        )
    return told
