"""What people, pages and plugins read: rows of jobs, snapshots, events, totals.

Reads only, each answer from one unchanging state. Needs no provider's decoder: a job's
neutral form lies beside its raw item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from tunewatch.model import Checkpoint, MetricPoint, Snapshot
from tunewatch.plugin import Count, JobRow
from tunewatch.store import ledger, overview, plugin_states
from tunewatch.store.carrier import Carrier
from tunewatch.store.deliveries import Deliveries
from tunewatch.store.ledger import Backlog, IsWanted, StoredEvent
from tunewatch.store.overview import FoundJob, JobPage
from tunewatch.store.plugin_states import PluginState
from tunewatch.store.records import SourceRow
from tunewatch.store.whereabouts import all_sources

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Reads the committed state. Every method may raise StoreFault.

    `deliveries` reads the delivery log and the dead letters.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.deliveries = Deliveries(carrier)

    async def _read(
        self,
        fn: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._carrier.read(lambda c: fn(c, *args, **kwargs))

    async def jobs(
        self,
        *,
        source: str | None = None,
        status: str | None = None,
        settled: bool | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> JobPage:
        """Return jobs, newest first; `after` is the id of the last one had before."""
        return await self._read(
            overview.jobs,
            source=source,
            status=status,
            settled=settled,
            limit=limit,
            after=after,
        )

    async def find(self, job_id: str, *, source: str | None = None) -> list[FoundJob]:
        """Return every job of that id: two realms may know it."""
        return await self._read(overview.find, job_id, source)

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
    ) -> list[JobRow]:
        """Return jobs that are not settled or ended lately, newest first.

        `finished_within` is seconds before `now`; failed jobs stay at least an hour.
        """
        return await self._read(
            overview.window,
            finished_within=finished_within,
            limit=limit,
            now=now,
            source_ids=source_ids,
        )

    async def newest_chosen(
        self,
        *,
        suffix: str | None = None,
        metadata: Mapping[str, str] | None = None,
        source: str | None = None,
    ) -> JobRow | None:
        """Return the newest settled job of a family that has a final choice."""
        return await self._read(
            overview.newest_chosen, suffix, dict(metadata or {}), source
        )

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
            ledger.events,
            after=after,
            limit=limit,
            source=source,
            job_key=job_key,
            types=types,
        )

    async def event(self, event_id: str) -> StoredEvent | None:
        """Return one event; None if there is none or retention purged it."""
        return await self._read(ledger.event, event_id)

    async def positions(self) -> tuple[int, int]:
        """Return the position of the oldest event there is, and of the newest taken.

        (0, 0) in an empty store; the first is above the second if all were purged.
        """
        return await self._read(ledger.positions)

    async def counts(self) -> list[Count]:
        """Return the totals that survive restarts, with `source` among the labels."""
        return await self._read(ledger.counts)

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
