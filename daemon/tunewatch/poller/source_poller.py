"""Look at every job of one source until it is settled, for as long as the lease lasts.

Puts the parts of one source's polling together and owns their tasks. How the list is
read, which job is looked at next and what a look asks for is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count
from typing import NoReturn

import structlog

from tunewatch import pace
from tunewatch.clock import Clock
from tunewatch.poller.asking import Asker
from tunewatch.poller.budget import Budget
from tunewatch.poller.committing import Committer
from tunewatch.poller.discovering import Discovery
from tunewatch.poller.filling import ResultFiles
from tunewatch.poller.kept import Kept
from tunewatch.poller.list_loop import ListLoop
from tunewatch.poller.listing import Listing
from tunewatch.poller.look_loop import LookLoop
from tunewatch.poller.looking import Looker
from tunewatch.poller.noticed import Noticed
from tunewatch.poller.observer import PollObserver, Unobserved
from tunewatch.poller.tide import Tide
from tunewatch.poller.tracked import Tracked
from tunewatch.poller.trouble import Trouble
from tunewatch.sources.contract import Source, files_grow
from tunewatch.store.opening import Store
from tunewatch.store.records import Fence, SourceRow
from tunewatch.unbidden import begin, unbroken


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSetting:
    """How a source is polled, as configured."""

    rates: pace.Rates
    requests_per_minute: float


class SourcePoller:
    """The poller of one source, for one lease term."""

    def __init__(
        self,
        *,
        source: Source,
        row: SourceRow,
        fence: Fence,
        store: Store,
        setting: SourceSetting,
        clock: Clock,
        jitter: pace.Jitter,
        key: Callable[[], object],
        observer: PollObserver | None = None,
        tide: Tide | None = None,
    ) -> None:
        self._source = source
        self._clock = clock
        self._tracked: dict[str, Tracked] = {}
        self.is_caught_up = asyncio.Event()  #: all that was due at the start is done
        log = structlog.get_logger(__name__).bind(source=source.name)
        observer = observer or Unobserved()
        rates = setting.rates
        numbers = count(1)
        self._budget = Budget(
            setting.requests_per_minute, clock, rest=None if tide is None else tide.rest
        )
        asker = Asker(source, self._budget)
        self.trouble = Trouble(
            log=log, poll_interval=rates.poll_interval, jitter=jitter
        )
        self._committer = Committer(
            journal=store.journal,
            fence=fence,
            source=source,
            clock=clock,
            jitter=jitter,
            log=log,
            tide=tide,
        )
        self._kept = kept = Kept(
            sources=store.sources,
            row=row,
            fence=fence,
            source=source,
            committer=self._committer,
        )
        self._noticed = Noticed(log=log)
        listing = Listing(
            source=source,
            source_id=row.id,
            backfill_before=row.backfill_before,
            tracked=self._tracked,
            peek=kept.peek,
            commit=self._committer.commit,
            clock=clock,
            numbers=numbers,
            noticed=self._noticed,
        )
        self._discovery = Discovery(
            asker=asker,
            listing=listing,
            tracked=self._tracked,
            count_newer=kept.count_newer,
            save_walk=kept.save_walk,
            clock=clock,
            log=log,
            walked=row.walked,
            walk_cursor=row.walk_cursor,
        )
        self._list_loop = ListLoop(
            name=source.name,
            discovery=self._discovery,
            committer=self._committer,
            trouble=self.trouble,
            state=kept.state,
            note_listed=kept.note_listed,
            key=key,
            rates=rates,
            clock=clock,
            jitter=jitter,
            observer=observer,
            log=log,
            on_read=self._list_read,
            beat=clock.monotonic(),
        )
        self._look_loop = LookLoop(
            name=source.name,
            tracked=self._tracked,
            looker=Looker(
                source=source,
                asker=asker,
                files=ResultFiles(
                    asker=asker, clock=clock, log=log, grow=files_grow(source)
                ),
                commit=self._committer.commit,
                known_of=kept.known_of,
                clock=clock,
                rates=rates,
                numbers=numbers,
                log=log,
            ),
            trouble=self.trouble,
            rates=rates,
            clock=clock,
            jitter=jitter,
            observer=observer,
            log=log,
            on_look=self._note_caught_up,
            beat=clock.monotonic(),
        )

    @property
    def beat(self) -> float:
        """Return when the loop that is furthest behind last made progress.

        Waiting for the store, or because the provider asked for it, is no standstill.
        """
        if self._budget.is_held or self._committer.paused_reason is not None:
            return self._clock.monotonic()
        return min(self._list_loop.beat, self._look_loop.beat)

    @property
    def tracked(self) -> int:
        """Return how many jobs are under watch."""
        return len(self._tracked)

    @property
    def paused_reason(self) -> str | None:
        """Return why nothing is polled although the source answers."""
        return self._committer.paused_reason

    @property
    def foreign(self) -> frozenset[str]:
        """Return the jobs it sees that belong to another source."""
        return self._noticed.foreign_jobs

    async def adopt(self, job_ids: Collection[str]) -> None:
        """Take up jobs that another source had and that were passed on to this one."""
        self._noticed.own(job_ids)
        await self._load(job_ids)
        self._look_loop.wake()

    def look_now(self, job_id: str | None = None) -> None:
        """Look at a job now (at the list, if it is not under watch)."""
        job = self._tracked.get(job_id) if job_id is not None else None
        if job is None:
            self._list_loop.poke()
            return
        job.due = self._clock.monotonic()
        job.needs_retrieve = job.is_awaited = True
        self._look_loop.wake()

    async def run(self) -> NoReturn:
        """Poll until cancelled. Raises LeaseLost, StoreBroken."""
        self.trouble.is_told_down = (await self._kept.state()).down
        await self._load()
        async with asyncio.TaskGroup() as tasks:
            name = self._source.name
            walk = self._list_loop
            first = f"walk:{name}"
            walking = unbroken(f"the loop {first}", walk.first_walk())
            tasks.create_task(walking, name=first)
            begin(tasks, f"discover:{name}", walk.newest_pages())
            begin(tasks, f"daily:{name}", walk.daily_walk())
            begin(tasks, f"look:{name}", self._look(tasks))
        raise AssertionError("the loops of a poller never end by themselves")

    async def _load(self, among: Collection[str] | None = None) -> None:
        """Take up the jobs that are not settled; their windows begin again."""
        now = self._clock.monotonic()
        for row in await self._kept.tracked():
            if among is not None and row.id not in among:
                continue
            job = Tracked(row.job, now=now, state=row.state)
            job.key = row.key
            self._tracked[row.id] = job

    async def _look(self, tasks: asyncio.TaskGroup) -> NoReturn:
        # What is due after a start waits for the first page, which may cover it.
        await self._discovery.first_page.wait()
        await self._look_loop.run(tasks)

    def _list_read(self) -> None:
        self._look_loop.wake()
        self._note_caught_up()

    def _note_caught_up(self) -> None:
        if self.is_caught_up.is_set() or not self._discovery.walked:
            return
        jobs = self._tracked.values()
        is_waiting = any(not job.looks and not job.failures for job in jobs)
        if not is_waiting and self.trouble.last_success is not None:
            self.is_caught_up.set()
