"""The loop that looks at one source's jobs: what is awaited, then longest unseen first.

Decides when to look again and when a job needs no more looks; what a look asks for is
`looking`'s. One look per job is in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from structlog.typing import FilteringBoundLogger

from tunewatch import pace
from tunewatch.clock import Alarm, Clock
from tunewatch.poller.looking import Looker, NotCommitted
from tunewatch.poller.observer import PollObserver
from tunewatch.poller.tracked import Tracked
from tunewatch.poller.trouble import Trouble
from tunewatch.sources.contract import Missing, SourceFault
from tunewatch.unbidden import unbroken

AT_ONCE = 4
"""Looks in flight of one source: each holds a page, and there may be many sources."""
SHORT_OF_REQUESTS = 1.0
"""s until it is seen again whether a further look would only hold a page and wait."""
AWAITED_AGAIN = 5.0
"""s after a look in which its job is not let go first again: others wait, too."""


@dataclass(slots=True, kw_only=True)
class LookLoop:
    """Looks at the tracked jobs of one source for as long as it is polled."""

    name: str
    tracked: dict[str, Tracked]
    looker: Looker
    trouble: Trouble
    rates: pace.Rates
    clock: Clock
    jitter: pace.Jitter
    observer: PollObserver
    log: FilteringBoundLogger
    on_look: Callable[[], None]  #: called after each look
    beat: float = 0.0  #: monotonic, of the last progress
    _looking: int = 0  #: looks in flight
    _alarm: Alarm = field(init=False)
    _slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(AT_ONCE)
    )

    def __post_init__(self) -> None:
        self._alarm = Alarm(self.clock, name=f"look.alarm:{self.name}")

    def wake(self) -> None:
        """See anew what is due."""
        self._alarm.ring()

    async def run(self, tasks: asyncio.TaskGroup) -> NoReturn:
        """Look at whatever is due, in tasks of the group."""
        while True:
            self._alarm.set_anew()
            now = self.beat = self.clock.monotonic()
            if self._looking and self.looker.asker.is_waited_for:
                await self._alarm.rest(now + SHORT_OF_REQUESTS, tasks)
                continue
            job, soonest = self._next(now)
            if job is None or self.trouble.is_on:
                await self._alarm.rest(soonest, tasks)
                continue
            await self._slots.acquire()
            job.is_looking = True
            self._looking += 1
            tasks.create_task(self._look(job), name=f"look:{job.id}")

    def _next(self, now: float) -> tuple[Tracked | None, float]:
        """Return the due job that goes first, and when the next one is due."""
        soonest = now + self.rates.poll_interval
        chosen: Tracked | None = None
        first = (True, now)
        for job in self.tracked.values():
            if job.is_looking:
                continue
            if job.due > now:
                soonest = min(soonest, job.due)
            elif chosen is None or job.is_awaited or job.seen_at < first[1]:
                place = _place(job, now)
                if chosen is None or place < first:
                    chosen, first = job, place
        return chosen, soonest

    async def _look(self, job: Tracked) -> None:
        began = job.seen_at = self.clock.monotonic()
        job.is_awaited = False
        fault: str | None = None
        try:
            await unbroken(f"a look at {job.id}", self.looker.look(job))
            self.trouble.look_failures = 0
        except (SourceFault, NotCommitted) as failure:
            fault = type(failure).__name__.lower()
            job.needs_retrieve = True
            if isinstance(failure, Missing):
                await self._missed(job)
            else:
                self._failed(job, failure)
        finally:
            job.is_looking = False
            self._looking -= 1
            self._slots.release()
        now = self.beat = self.clock.monotonic()
        job.due = now + self._wait_after(job, now)
        self.observer.polled(self.name, phase="look", seconds=now - began, fault=fault)
        if is_done_with(job, now):
            self.tracked.pop(job.id, None)
        self.on_look()
        self._alarm.ring()

    def _failed(self, job: Tracked, failure: Exception) -> None:
        job.failures += 1
        if isinstance(failure, SourceFault):
            self.trouble.look_failures += 1
        if job.failures == 1:
            self.log.warning("poll.look_failed", job=job.id, reason=str(failure))

    async def _missed(self, job: Tracked) -> None:
        """Take in that the provider knows no such job."""
        now = self.clock.monotonic()
        job.failures += 1
        if not self.trouble.is_on:
            job.miss(now)
        missing = sum(1 for other in self.tracked.values() if other.misses)
        if missing > max(1, len(self.tracked) // 2):
            # More than half at once is the source's trouble, not the jobs'.
            if job.misses == 1:
                self.log.warning("poll.many_jobs_missing", count=missing)
            return
        if job.is_missing(now) and not job.is_covered:
            try:
                await self.looker.gone(job)
            except NotCommitted as failure:
                self._failed(job, failure)

    def _wait_after(self, job: Tracked, now: float) -> float:
        if job.failures:
            return pace.back_off(self.rates.poll_interval, job.failures, self.jitter)
        if job.needs_retrieve:  # said otherwise while this look was under way
            return 0.0
        if job.doubted_at is not None:
            return self.rates.poll_interval
        unchanged_for = now - job.unchanged_since
        every = pace.look(self.rates, job.status, unchanged_for=unchanged_for)
        wait = pace.jittered(every, self.jitter)
        return max(wait, job.file_next - now) if job.state.settled else wait


def _place(job: Tracked, now: float) -> tuple[bool, float]:
    """Return where a due job stands in the row: the least is first."""
    is_first = job.is_awaited and now - job.seen_at >= AWAITED_AGAIN
    return not is_first, job.seen_at


def is_done_with(job: Tracked, now: float) -> bool:
    """Whether nothing more has to be asked about the job."""
    if job.state.removed:
        return True
    if not job.state.settled or job.doubted_at is not None or job.failures:
        return False
    first = job.file_first_tried
    if first is None or not job.missing_files():
        return True
    return now - first >= pace.FILE_GIVEN_UP
