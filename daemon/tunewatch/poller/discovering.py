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
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a page of the first walk is committed: there is known ground."""
    first_page: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the newest page was read: it tells who needs no retrieve."""

    def __post_init__(self) -> None:
        """Take up where the term before left off."""
        if self.walked or self.walk_cursor is not None:
            self.begun.set()

    async def newest(self) -> None:
        """Read the newest page, and as many more as pay off.

        Raises the source's faults.
        """
        pages, ground = Pages(self.asker.jobs, "jobs"), KnownGround()
        try:
            page = await pages.next()
        finally:
            # Not before: a look that began meanwhile would retrieve for nothing.
            self.listing.begin_round()
        reached, new = await self.listing.take(page, rank=0, ground=ground)
        read, size = 1, page.count or PAGE
        # Also while the first walk goes on: where it began is known ground, and what
        # came since (while nobody watched, say) lies above it.
        if new:
            while not reached and not pages.is_over:
                page = await pages.next()
                reached, more = await self.listing.take(page, rank=None, ground=ground)
                new += more
            pages.is_over = True  # ranks have moved: the next round covers the rest
        await self._admit(new)
        for job in self.tracked.values():
            if job.rank is not None and not self.listing.is_shown(job.id):
                job.rank += len(new)
        wanted = 0 if pages.is_over else await self._pages_wanted(size)
        rank = page.count
        while read <= wanted and not pages.is_over:
            page = await pages.next()
            _, new = await self.listing.take(page, rank=rank)
            await self._admit(new)
            read, rank = read + 1, rank + page.count
        self.listing.end_round()
        self.first_page.set()

    async def _admit(self, new: list[tuple[str, RawJob]]) -> None:
        """Commit new jobs oldest first, in portions.

        If it breaks off, what is committed is the known ground that the next round
        walks down to, so that nothing above it is left out.
        """
        oldest_first = list(reversed(new))
        for start in range(0, len(oldest_first), PAGE):
            portion = oldest_first[start : start + PAGE]
            await self.listing.admit(list(reversed(portion)))

    async def _pages_wanted(self, size: int) -> int:
        """Return how many further pages cover what the newest does not show."""
        now = self.clock.monotonic()
        ranks: list[int] = []
        # A copy: looks end, and jobs leave with them, while the store counts.
        for job in list(self.tracked.values()):
            if self.listing.is_shown(job.id) or job.is_slow(now):
                continue
            if job.rank is None:
                job.rank = await self.count_newer(job.outline.created_at or 0)
            ranks.append(max(job.rank, size))
        return pace.pages_to_read(ranks, size)

    async def first_walk(self) -> None:
        """Walk over all jobs once, from where it broke off; return at the end.

        Raises the source's faults; called again it goes on.
        """
        pages = Pages(self.asker.jobs, "jobs")
        pages.cursor = self.walk_cursor
        count = restarts = 0
        while not self.walked:
            try:
                page = await pages.next()
            except (Missing, Unreadable):
                if self.walk_cursor is None:
                    raise
                # The job that the cursor names is gone: begin again, what is known
                # is only passed by.
                self.walk_cursor, pages = None, Pages(self.asker.jobs, "jobs")
                restarts += 1
                if restarts > 1:
                    raise
                continue
            _, new = await self.listing.take(page, rank=None)
            # Newest first here: what is committed is kept by the cursor, not by
            # known ground.
            await self.listing.admit(new)
            self.walk_cursor = pages.cursor
            self.walked = pages.is_over
            await self.save_walk(self.walk_cursor, self.walked)
            self.begun.set()
            count += 1
            if self.walked or count % PROGRESS_EVERY == 0:
                self.log.info("poll.first_walk", pages=count, is_over=self.walked)

    async def whole(self) -> bool:
        """Walk over the complete list, so that no settled job changes unseen.

        Return whether it came to the end.
        """
        pages, count = Pages(self.asker.jobs, "jobs"), 0
        while not pages.is_over:
            try:
                page = await pages.next()
            except SourceFault as fault:
                self.log.info("poll.daily_walk_broke_off", reason=fault.reason)
                return False
            _, new = await self.listing.take(page, rank=None)
            await self._admit(new)
            count += 1
        self.log.debug("poll.daily_walk", pages=count)
        return True
