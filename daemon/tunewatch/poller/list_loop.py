"""The loops that read one source's job list, and what its failures mean.

The newest page is the probe of a source that is down: while it fails, nothing else is
asked. Knows when to read; how a page is read is `discovering`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NoReturn

from structlog.typing import FilteringBoundLogger

from tunewatch import pace
from tunewatch.clock import Clock, sleep_or
from tunewatch.events import SourceDown, SourceUp, iso
from tunewatch.poller.committing import Committer
from tunewatch.poller.discovering import Discovery
from tunewatch.poller.observer import PollObserver
from tunewatch.poller.trouble import Trouble
from tunewatch.sources.contract import SourceFault
from tunewatch.store.outages import SourceState

LOOK_FOR_KEY = 1.0
"""s between looks at whether a refused key has been exchanged."""
POKED_AGAIN = 2.0
"""s after a read in which no poke brings about another: they come in storms."""


@dataclass(slots=True, kw_only=True)
class ListLoop:
    """Reads the list of one source for as long as it is polled."""

    name: str
    discovery: Discovery
    committer: Committer
    trouble: Trouble
    state: Callable[[], Awaitable[SourceState]]  #: as it was kept last
    note_listed: Callable[[], Awaitable[None]]
    key: Callable[[], object]
    rates: pace.Rates
    clock: Clock
    jitter: pace.Jitter
    observer: PollObserver
    log: FilteringBoundLogger
    on_read: Callable[[], None]  #: called after each read of the list
    beat: float = 0.0  #: monotonic, of the last progress
    _poked: asyncio.Event = field(default_factory=asyncio.Event)
    _tried_key: object = None  #: the key of the last try

    def poke(self) -> None:
        """Read the newest page now."""
        self._poked.set()

    async def first_walk(self) -> None:
        """Walk over all jobs once, however often it breaks off."""
        discovery, failures = self.discovery, 0
        while not discovery.walked:
            self._tried_key = self.key()
            try:
                await discovery.first_walk()
            except SourceFault as fault:
                failures += 1
                if discovery.begun.is_set():
                    await self._rest(failures)
                else:
                    await self._failed(fault, "first_walk")
            else:
                self.on_read()
                await self.note_listed()

    async def _rest(self, failures: int) -> None:
        """Wait like a look: the newest page is the probe of a source in trouble."""
        every = self.rates.poll_interval
        await self.clock.sleep(pace.back_off(every, failures, self.jitter))
        while self.trouble.is_on:
            await self.clock.sleep(every)

    async def newest_pages(self) -> NoReturn:
        """Read the newest pages at the source's interval."""
        await self.discovery.begun.wait()
        while True:
            self._poked.clear()
            self._tried_key = self.key()
            began = self.clock.monotonic()
            try:
                await self.discovery.newest()
            except SourceFault as fault:
                await self._failed(fault, "discovery")
                continue
            await self._answered()
            now = self.clock.monotonic()
            self.observer.polled(
                self.name, phase="discovery", seconds=now - began, fault=None
            )
            self.on_read()
            jobs = self.discovery.tracked.values()
            active = any(job.is_active(now) for job in jobs)
            wait = pace.discovery(self.rates, active=active)
            self._watching(wait, is_up=True)
            await self._rest_or_poke(pace.jittered(wait, self.jitter))

    async def _rest_or_poke(self, wait: float) -> None:
        at_least = min(wait, POKED_AGAIN)
        await self.clock.sleep(at_least)
        await sleep_or(self._poked, wait - at_least, self.clock)

    async def daily_walk(self) -> NoReturn:
        """Read the complete list once a day, however often we are started."""
        state = await self.state()
        wait = pace.until_walk(state.listed_at, self.clock.now(), self.jitter)
        while True:
            await self.clock.sleep(wait)
            is_whole = await self.discovery.whole()
            self.on_read()
            if is_whole:
                await self.note_listed()
            again = pace.FULL_WALK if is_whole else pace.FULL_WALK_AGAIN
            wait = pace.jittered(again, self.jitter)

    async def _failed(self, fault: SourceFault, phase: str) -> None:
        now, wall = self.clock.monotonic(), self.clock.now()
        wait = self.trouble.list_failed(fault, now, wall)
        kind = type(fault).__name__.lower()
        self.observer.polled(self.name, phase=phase, seconds=0.0, fault=kind)
        self._watching(wait, is_up=False)
        if self.trouble.is_down(now) and not self.trouble.is_told_down:
            since = iso(self.trouble.since_wall)
            await self.committer.tell(SourceDown(reason=fault.reason, since=since))
            self.trouble.is_told_down = True
        await self._wait_out(wait)

    async def _wait_out(self, wait: float) -> None:
        """Wait after a failure; a key that was exchanged is tried at once."""
        until = self.clock.monotonic() + wait
        while (left := until - self.clock.monotonic()) > 0:
            self.beat = self.clock.monotonic()
            await self.clock.sleep(min(left, LOOK_FOR_KEY))
            if self.trouble.refused and self.key() != self._tried_key:
                self.log.info("source.key_changed")
                return

    async def _answered(self) -> None:
        if self.trouble.is_told_down:
            told = await self.state()
            since = told.since or iso(self.clock.now())
            reason = told.reason or "it answers again"
            await self.committer.tell(SourceUp(reason=reason, since=since))
            self.trouble.is_told_down = False
        self.beat = self.clock.monotonic()
        self.trouble.list_answered(self.beat)

    def _watching(self, interval: float, *, is_up: bool) -> None:
        tracked = len(self.discovery.tracked)
        self.observer.watching(
            self.name, tracked=tracked, interval=interval, is_up=is_up
        )
