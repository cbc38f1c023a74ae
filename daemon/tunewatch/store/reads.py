"""What people, pages and plugins read: rows of jobs, snapshots, events, totals.

Reads only, each answer from one unchanging state. Needs no provider's decoder: a job's
neutral form lies beside its raw item.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from tunewatch.model import Checkpoint, MetricPoint, Snapshot
from tunewatch.plugin import Count, JobRow, WindowPart
from tunewatch.store import (
    ledger,
    leftovers,
    overview,
    plugin_states,
    searching,
    told,
    windows,
)
from tunewatch.store.audit import Audit
from tunewatch.store.carrier import Carrier
from tunewatch.store.deliveries import Deliveries
from tunewatch.store.event_pages import EventPage, EventsWanted, page_of_events
from tunewatch.store.in_parts import windowed
from tunewatch.store.ledger import Backlog, IsWanted
from tunewatch.store.leftovers import LeftPlugin, LeftSource
from tunewatch.store.plugin_states import PluginState
from tunewatch.store.records import SourceRow
from tunewatch.store.searching import FoundJob, JobPage, JobsWanted, Place
from tunewatch.store.told import Spot, StoredEvent
from tunewatch.store.whereabouts import Outage, all_sources, outages

P = ParamSpec("P")
T = TypeVar("T")
EVERY_JOB = JobsWanted()


class Reader:
    """Reads the committed state. Every method may raise StoreFault.

    `deliveries` reads the delivery log and the dead letters, `audit` who had what done.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.deliveries = Deliveries(carrier)
        self.audit = Audit(carrier)

    async def _read(
        self,
        fn: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._carrier.read(lambda c: fn(c, *args, **kwargs))

    async def jobs(
        self,
        wanted: JobsWanted = EVERY_JOB,
        *,
        limit: int = 50,
        after: Place | None = None,
    ) -> JobPage:
        """Return jobs, newest first, those behind a place.

        The page may hold fewer than `limit` although the list goes on: it costs a
        bounded amount of work.
        """
        return await self._read(searching.jobs, wanted, limit=limit, after=after)

    async def find(self, job_id: str, *, source: str | None = None) -> list[FoundJob]:
        """Return every job of that id: two realms may know it."""
        return await self._read(searching.find, job_id, source)

    async def snapshot(self, source: str, job_id: str) -> Snapshot | None:
        """Return everything known of one job at one revision."""
        return await self._read(overview.snapshot, source, job_id)

    async def window(
        self,
        *,
        finished_within: float,
        limit: int,
        now: float,
        source_ids: Sequence[int] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[JobRow]:
        """Return jobs that are not settled or ended lately, newest first.

        `finished_within` is seconds before `now`; failed jobs stay at least an hour.
        Only jobs that have all of `metadata`.
        """
        window = partial(
            windows.window,
            now=now,
            finished_within=finished_within,
            source_ids=source_ids,
            metadata=metadata,
        )
        found = await windowed(self._carrier, window)
        return await found.rows(limit)

    async def window_parts(
        self,
        *,
        finished_within: float,
        limit: int,
        now: float,
        source_ids: Sequence[int] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncIterator[WindowPart]:
        """Yield the same jobs at a glance, and of those beyond the limit the number."""
        window = partial(
            windows.window,
            now=now,
            finished_within=finished_within,
            source_ids=source_ids,
            metadata=metadata,
            enough=limit,
        )
        found = await windowed(self._carrier, window)
        async for part in found.parts(limit):
            yield part

    async def _made(
        self,
        make: Callable[[Sequence[Any]], T],
        fn: Callable[Concatenate[Connection, P], Sequence[Any]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Read rows and make something of them in a thread: in the reading one if any.

        On PostgreSQL reading has none.
        """
        if self._carrier.dialect == "sqlite":
            return await self._carrier.read(lambda c: make(fn(c, *args, **kwargs)))
        return await asyncio.to_thread(make, await self._read(fn, *args, **kwargs))

    async def points(
        self, job_key: int, *, after: int = 0, limit: int | None = None
    ) -> list[MetricPoint]:
        """Return a job's points by ordinal, those above `after`."""
        return await self._read(overview.points, job_key, after=after, limit=limit)

    async def checkpoints(self, job_key: int) -> list[Checkpoint]:
        """Return a job's listed checkpoints, by step."""
        return await self._read(overview.checkpoints, job_key)

    async def events(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        source: str | None = None,
        job_key: int | None = None,
        types: Sequence[str] | None = None,
    ) -> list[StoredEvent]:
        """Return events above a position, oldest first."""
        return await self._read(
            told.events,
            after=after,
            limit=limit,
            source=source,
            job_key=job_key,
            types=types,
        )

    async def event(self, event_id: str) -> StoredEvent | None:
        """Return one event; None if there is none or retention purged it."""
        return await self._read(told.one_event, event_id)

    async def told(
        self,
        wanted: EventsWanted,
        *,
        limit: int,
        after: int | None = None,
        newest_first: bool = False,
    ) -> EventPage:
        """Return events beyond a position, oldest first unless asked otherwise.

        The page may hold fewer than `limit`, even none, although there are more: it
        costs a bounded amount of work and memory, and tells where it stopped.
        """
        return await self._read(
            page_of_events, wanted, limit=limit, after=after, newest_first=newest_first
        )

    async def is_spot(self, spot: Spot) -> bool:
        """Whether that event is kept, and where it is said to be."""
        return await self._read(told.is_spot, spot)

    async def newest_spot(self) -> Spot | None:
        """Return the place of the newest event that is kept."""
        return await self._read(told.newest_spot)

    async def positions(self) -> tuple[int, int]:
        """Return the position of the oldest event there is, and of the newest taken.

        (0, 0) in an empty store; the first is above the second if all were purged.
        """
        return await self._read(told.positions)

    async def counts(self, source_ids: Sequence[int] | None = None) -> list[Count]:
        """Return the totals that survive restarts, with `source` among the labels.

        Of these sources, or of every source.
        """
        return await self._made(ledger.counts, ledger.count_rows, source_ids)

    async def size(self) -> int:
        """Return the bytes that the tables take. Only PostgreSQL knows."""
        return await self._read(ledger.size)

    async def backlog(
        self, *, is_wanted: IsWanted | None = None, at_most: int = 10_000
    ) -> list[Backlog]:
        """Return how much waits per plugin and source, of at most so many events.

        Subscriptions are the configuration's: without `is_wanted` all events count.
        """
        return await self._read(ledger.backlog, at_most, is_wanted)

    async def plugins(self) -> list[PluginState]:
        """Return how plugins are, by name; as in the worst process, if there are many.

        Of a process that was killed it may be what it said last.
        """
        return await self._read(plugin_states.current)

    async def sources(self) -> list[SourceRow]:
        """Return every source there has been, by id."""
        return await self._read(all_sources)

    async def outages(self) -> dict[int, Outage]:
        """Return by source whether it is down, as its events told last."""
        return await self._read(outages)

    async def left_sources(self, configured: Collection[str]) -> list[LeftSource]:
        """Return the sources that have something and are not configured, by id."""
        return await self._read(leftovers.left_sources, configured)

    async def left_plugins(self, configured: Collection[str]) -> list[LeftPlugin]:
        """Return the plugins that have something and are not configured, by name."""
        return await self._read(leftovers.left_plugins, configured)
