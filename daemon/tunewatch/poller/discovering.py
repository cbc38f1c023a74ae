"""Reading the job list: the newest page over and over, all of it now and then.

Three loops share the listing: the newest pages at the source's interval, the first
walk over all jobs (which resumes after a restart), and one complete walk a day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from tunewatch import pace
from tunewatch.clock import Clock
from tunewatch.poller.asking import Asker
from tunewatch.poller.listing import Listing
from tunewatch.poller.tracked import Tracked
from tunewatch.poller.walk import PAGE, KnownGround, Pages
from tunewatch.sources.contract import Missing, RawJob, SourceFault, Unreadable

PROGRESS_EVERY = 10
"""Pages between two words about the first walk."""


@dataclass(slots=True, kw_only=True)
class Discovery:
    """Finds jobs of one source."""

    asker: Asker
    listing: Listing
    tracked: dict[str, Tracked]
    count_newer: Callable[[int], Awaitable[int]]
    save_walk: Callable[[str | None, bool], Awaitable[None]]
    clock: Clock
    log: FilteringBoundLogger
    walked: bool  #: the first walk is done
    walk_cursor: str | None  #: where it goes on
    first_page: asyncio.Event = field(default_factory=asyncio.Event)

    async def newest(self) -> None:
        """Read the newest page, and as many more as pay off.

        Raises the source's faults.
        """
        self.listing.uncover()
        pages, ground = Pages(self.asker.jobs, "jobs"), KnownGround()
        page = await pages.next()
        reached, new = await self.listing.take(page, rank=0, ground=ground)
        read = 1
        # Until the first walk is done there is no known ground to reach but its own.
        if new and self.walked:
            while not reached and not pages.is_over:
                page = await pages.next()
                reached, more = await self.listing.take(page, rank=None, ground=ground)
                new += more
            pages.is_over = True  # ranks have moved: the next round covers the rest
        await self._admit(new)
        for job in self.tracked.values():
            if job.rank is not None and not job.is_covered:
                job.rank += len(new)
        wanted = 0 if pages.is_over else await self._pages_wanted()
        while read <= wanted and not pages.is_over:
            page = await pages.next()
            _, new = await self.listing.take(page, rank=read * PAGE)
            await self._admit(new)
            read += 1

    async def _admit(self, new: list[tuple[str, RawJob]]) -> None:
        """Commit new jobs oldest first, in portions.

        If it breaks off, what is committed is the known ground that the next round
        walks down to, so that nothing above it is left out.
        """
        oldest_first = list(reversed(new))
        for start in range(0, len(oldest_first), PAGE):
            portion = oldest_first[start : start + PAGE]
            await self.listing.admit(list(reversed(portion)))

    async def _pages_wanted(self) -> int:
        """Return how many further pages cover what the newest does not show."""
        now = self.clock.monotonic()
        ranks: list[int] = []
        for job in self.tracked.values():
            if job.is_covered or job.is_slow(now):
                continue
            if job.rank is None:
                job.rank = await self.count_newer(job.job.created_at or 0)
            ranks.append(max(job.rank, PAGE))
        return pace.pages_to_read(ranks, PAGE)

    async def first_walk(self) -> None:
        """Walk over all jobs once, from where it broke off; return at the end.

        Raises the source's faults; called again it goes on.
        """
        if self.walked:
            self.first_page.set()
            return
        pages = Pages(self.asker.jobs, "jobs")
        pages.cursor = self.walk_cursor
        count = 0
        while True:
            try:
                page = await pages.next()
            except (Missing, Unreadable):
                if self.walk_cursor is None:
                    raise
                # The job that the cursor names is gone: begin again, what is known
                # is only passed by.
                self.walk_cursor = pages.cursor = None
                continue
            _, new = await self.listing.take(page, rank=None)
            # Newest first here: what is committed is kept by the cursor, not by
            # known ground.
            await self.listing.admit(new)
            self.walk_cursor = pages.cursor
            self.walked = pages.is_over
            await self.save_walk(self.walk_cursor, self.walked)
            self.first_page.set()
            count += 1
            if self.walked or count % PROGRESS_EVERY == 0:
                self.log.info("poll.first_walk", pages=count, is_over=self.walked)
            if self.walked:
                return

    async def whole(self) -> None:
        """Walk over the complete list, so that no settled job changes unseen."""
        pages, count = Pages(self.asker.jobs, "jobs"), 0
        while not pages.is_over:
            try:
                page = await pages.next()
            except SourceFault as fault:
                self.log.info("poll.daily_walk_broke_off", reason=fault.reason)
                return
            _, new = await self.listing.take(page, rank=None)
            await self._admit(new)
            count += 1
        self.log.debug("poll.daily_walk", pages=count)
