"""Hold the leases of sources: seek free ones, renew ours, let go of what is lost.

Sending, asking and exporting for a source stop a second before its lease could end, by
the monotonic clock counted from before the renewal was sent.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

from tunewatch.clock import Clock, sleep_or
from tunewatch.store.leases import Leases
from tunewatch.store.records import Fence, StoreFault, StoreUnavailable
from tunewatch.unbidden import begin

SEEK_EVERY = 0.2
"""s between looks for free leases: what is handed over is taken within a second."""
SEEK_SOON = 0.05
"""s until the next one when some were taken: whoever left them leaves more."""
SEEK_AGAIN = 2.0
"""s between looks while the store is away."""
AT_ONCE = 100
"""Leases that are taken together: what is taken first is at work when the rest is."""
RENEW_EVERY = 4.0
"""s between renewals."""
ALONE_AT_ONCE, ALONE_AGAIN = 5, 0.4
"""The same where nobody else takes any, and s between: a hundred sources that all read
their first pages at once take 35 MiB that the process never gives back."""
YIELDS = 0.001
"""s, for each lease that is held, before more are taken: who holds fewer is first."""
STEP_BACK = 3.0
"""s for which what was handed over is left to who asked for it."""
MARGIN = 1.0
"""s before its end at which a lease counts as lost."""
WATCH_EVERY = 0.25
"""s between looks at whether a lease is still trusted."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Held:
    """A lease as its holder sees it.

    `lost` is set as soon as it is not trusted, or another replica is to have it.
    """

    fence: Fence
    lost: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, kw_only=True)
class Leasing:
    """The leases of one process."""

    leases: Leases
    clock: Clock
    beat: float = 0.0  #: monotonic, of the last progress
    away_reason: str | None = None  #: why the store can neither renew nor lend any
    held: dict[int, Held] = field(default_factory=dict)
    _wanted: dict[int, asyncio.Queue[Held]] = field(default_factory=dict)
    _is_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _progress: dict[int, Callable[[], bool]] = field(default_factory=dict)
    _renewed_at: float = 0.0
    _passing: set[int] = field(default_factory=set)  # kept for the next life here
    _kept: dict[int, Held] = field(default_factory=dict)
    _left_until: dict[int, float] = field(default_factory=dict)

    async def get(self, source_id: int, makes_progress: Callable[[], bool]) -> Held:
        """Wait until the lease of a source is ours.

        It is renewed as long as `makes_progress`: a source whose loops are stuck goes
        to another replica.
        """
        anew = await self._anew(source_id, makes_progress)
        if anew is not None:
            return anew
        queue: asyncio.Queue[Held] = asyncio.Queue()
        self._wanted[source_id] = queue
        self._is_wanted.set()
        self._progress[source_id] = makes_progress
        held: Held | None = None
        try:
            held = await queue.get()
        finally:
            self._wanted.pop(source_id, None)
            if held is None and not queue.empty():
                # It came while we were told not to wait any more.
                await self.give_back(queue.get_nowait())
        return held

    async def give_back(self, held: Held) -> None:
        """Release a lease, so that whoever seeks may have it at once."""
        if held.fence.source_id in self._passing and not held.lost.is_set():
            self._passing.remove(held.fence.source_id)
            self._kept[held.fence.source_id] = held
            return
        self.held.pop(held.fence.source_id, None)
        held.lost.set()
        try:
            async with asyncio.timeout(self.leases.ttl):
                await self.leases.release(held.fence)
        except (StoreUnavailable, TimeoutError):
            _log.info("lease.ends_by_itself", source_id=held.fence.source_id)
        if held.fence.source_id in self._left_until:
            until = self.clock.monotonic() + STEP_BACK
            self._left_until[held.fence.source_id] = until

    def trusts(self, fence: Fence) -> bool:
        """Whether a lease is surely ours now, however long the process was frozen."""
        return self.leases.expires_in(fence) > MARGIN

    def wanted(self) -> list[int]:
        """Return the sources whose leases are waited for now."""
        now = self.clock.monotonic()
        return [one for one in self._wanted if self._left_until.get(one, now) <= now]

    def hand_over(self, source_id: int) -> None:
        """Let go of a source in order, and leave it to others for a moment."""
        held = self.held.get(source_id)
        if held is not None:
            self._left_until[source_id] = math.inf
            held.lost.set()

    def pass_on(self, source_ids: Iterable[int]) -> None:
        """Keep these when they are given back: they begin anew here in a moment."""
        self._passing.update(self.held.keys() & set(source_ids))

    async def let_go(self) -> None:
        """Release what was kept for a life that did not begin."""
        self._passing.clear()
        left, self._kept = list(self._kept.values()), {}
        for held in left:
            await self.give_back(held)

    async def _anew(
        self, source_id: int, makes_progress: Callable[[], bool]
    ) -> Held | None:
        """Return a new term of a lease that was kept for this."""
        kept = self._kept.pop(source_id, None)
        if kept is None or kept.lost.is_set():
            return None
        # Else a renewal might take the end of the old term for a loss.
        self.held.pop(source_id, None)
        try:
            fence = await self.leases.again(kept.fence)
        except StoreUnavailable:
            return None  # it ends by itself, or is ours to take
        if fence is None:
            return None
        held = Held(fence)
        self.held[source_id] = held
        self._progress[source_id] = makes_progress
        return held

    async def keep(self) -> NoReturn:
        """Seek and renew for as long as the process lives. Raises StoreFault."""
        try:
            async with asyncio.TaskGroup() as tasks:
                begin(tasks, "lease.renew", self._seek_and_renew())
                begin(tasks, "lease.watch", self._watch())
        finally:
            await self._end()
        raise AssertionError("leases are kept for as long as the process lives")

    async def _seek_and_renew(self) -> NoReturn:
        self._renewed_at = self.clock.monotonic()
        while True:
            self._is_wanted.clear()
            try:
                await self._renew_if_due()
                every = SEEK_SOON if await self._seek() else SEEK_EVERY
            except StoreUnavailable as fault:
                self._is_away(fault.reason)
                every = SEEK_AGAIN
            self.beat = self.clock.monotonic()
            await sleep_or(self._is_wanted, every, self.clock)

    def _is_away(self, reason: str) -> None:
        if self.away_reason is None:
            _log.warning("lease.store_away", reason=reason)
        self.away_reason = reason

    def _is_back(self) -> None:
        """Note that leases are written again: that the store can be read is no sign."""
        if self.away_reason is not None:
            _log.info("lease.store_back")
        self.away_reason = None

    async def _renew_if_due(self) -> None:
        if self.clock.monotonic() - self._renewed_at < RENEW_EVERY:
            return
        await self._renew()
        self._renewed_at = self.clock.monotonic()

    async def _renew(self) -> None:
        mine = {
            held.fence
            for source_id, held in self.held.items()
            if self._progress[source_id]()
        }
        if not mine:
            return
        kept = await self.leases.renew(mine)
        self._is_back()
        for fence in mine - kept:
            self._lose(fence.source_id, "another replica has it")

    async def _seek(self) -> bool:
        """Take what is free; return whether others left it, and may leave more."""
        has_taken = False
        while wanted := self.wanted():
            # With a hundred sources a round takes longer than a lease lasts.
            await self._renew_if_due()
            is_shared = self.leases.are_shared
            most = AT_ONCE if is_shared else ALONE_AT_ONCE
            taken = await self.leases.acquire_free(wanted, most=most)
            if taken:
                self._is_back()
            elif self.away_reason is not None:
                await self.leases.try_to_write()
                self._is_back()
            has_taken = has_taken or bool(taken)
            for fence in taken:
                await self._lend(fence)
            if len(taken) < most:
                break
            await self.clock.sleep(
                YIELDS * len(self.held) if is_shared else ALONE_AGAIN
            )
        return has_taken and self.leases.are_shared

    async def _lend(self, fence: Fence) -> None:
        queue = self._wanted.pop(fence.source_id, None)
        if queue is None:  # given up meanwhile
            await self.leases.release(fence)
            return
        self._left_until.pop(fence.source_id, None)
        held = Held(fence)
        self.held[fence.source_id] = held
        queue.put_nowait(held)

    async def _end(self) -> None:
        """Give back what an acquiring that was broken off may have taken."""
        if not self.leases.are_shared:
            return
        try:
            async with asyncio.timeout(MARGIN):
                await self.leases.release_all()
        except (StoreFault, TimeoutError):
            _log.info("lease.ends_by_itself")

    async def _watch(self) -> NoReturn:
        while True:
            for source_id, held in list(self.held.items()):
                if not self.trusts(held.fence):
                    self._lose(source_id, "it could not be renewed in time")
            await self.clock.sleep(WATCH_EVERY)

    def _lose(self, source_id: int, reason: str) -> None:
        held = self.held.pop(source_id, None)
        if held is not None and not held.lost.is_set():
            held.lost.set()
            _log.warning("lease.lost", source_id=source_id, reason=reason)
