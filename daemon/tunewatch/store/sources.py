"""Sources as the store keeps them, and what a poller asks of them after a start.

Knows first contact and the first walk; nothing of requests to a provider.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Literal

from sqlalchemy import Connection, func, literal, or_, select, update

from tunewatch.model import Job
from tunewatch.plugin import Clock
from tunewatch.store.carrier import Carrier
from tunewatch.store.known_pairs import known_pairs
from tunewatch.store.leases import fence
from tunewatch.store.outages import SourceState, note_listed, source_state
from tunewatch.store.records import (
    Fence,
    PeekedJob,
    SourceRow,
    TrackedJob,
)
from tunewatch.store.renaming import Renamed, rename_within
from tunewatch.store.schema import entry, event, job, lane, source
from tunewatch.store.statements import Batch
from tunewatch.store.whereabouts import (
    SOURCE_COLUMNS,
    KnownJob,
    all_sources,
    known_jobs,
    peeked_jobs,
    tracked_jobs,
)


class Sources:
    """The sources there are and have been."""

    def __init__(self, carrier: Carrier, *, clock: Clock) -> None:
        self._carrier = carrier
        self._clock = clock

    async def contact(
        self,
        name: str,
        kind: str,
        realm: str,
        *,
        backfill: float | Literal["none", "all"] | None = None,
        realm_is_explicit: bool = False,
    ) -> SourceRow:
        """Return a source's row, made at first contact.

        `backfill` is seconds before first contact; the point in time it names is fixed
        then and never moves. So is the realm, unless the configuration sets one.
        """
        now = self._clock.now()
        row = {
            "name": name,
            "kind": kind,
            "realm": realm,
            "first_contact_at": now,
            "backfill_before": max(0.0, now - _seconds(backfill)),
            "walked": False,
            "sequence": 0,
            "state": b"{}",
        }
        return await self._carrier.write(
            partial(_contact, row=row, realm=realm if realm_is_explicit else None)
        )

    async def rename(self, former: Mapping[str, str]) -> Renamed:
        """Give sources new names, all in one transaction; `former` is old by new name.

        Whoever has the lease of a source loses it, so that nobody goes on under the old
        name. Idempotent: a source knows the names it had. Raises StoreUnusable if
        another source has the new name.
        """
        return await self._carrier.write(partial(rename_within, former=dict(former)))

    async def all(self) -> list[SourceRow]:
        """Return every source, by id."""
        return await self._carrier.read(all_sources)

    async def state(self, source_id: int) -> SourceState:
        """Return what is kept of a source beside its row."""
        return await self._carrier.read(partial(source_state, source_id=source_id))

    async def note_listed(self, held: Fence) -> None:
        """Keep that the whole list was read just now. Raises LeaseLost."""
        await self._carrier.write(partial(note_listed, held=held, at=self._clock.now()))

    async def save_walk(self, held: Fence, cursor: str | None, *, done: bool) -> None:
        """Keep how far the first walk over all jobs got. Raises LeaseLost."""
        await self._carrier.write(partial(_save, held=held, cursor=cursor, done=done))

    async def tracked(
        self, source_id: int, decode: Callable[[bytes], Job]
    ) -> list[TrackedJob]:
        """Return the jobs that are neither settled nor removed, oldest first.

        Raises what decode raises.
        """
        return await self._carrier.read(
            partial(tracked_jobs, source_id=source_id, decode=decode)
        )

    async def known_jobs(self, realm: str, ids: Sequence[str]) -> dict[str, KnownJob]:
        """Return which of these jobs are known, whoever owns them."""
        return await self._carrier.read(partial(known_jobs, realm=realm, ids=ids))

    async def peek(self, realm: str, ids: Sequence[str]) -> dict[str, PeekedJob]:
        """Return what is known of these jobs, whoever owns them.

        What retention purged is not among them: see `known_jobs`.
        """
        return await self._carrier.read(partial(peeked_jobs, realm=realm, ids=ids))

    async def known_entries(self, job_key: int, ids: Sequence[str]) -> set[str]:
        """Return which of these API events of a job are known."""

        def read(connection: Connection) -> set[str]:
            pairs = known_pairs(connection, entry, "id", {job_key: set(ids)})
            return {known for _, known in pairs}

        return await self._carrier.read(read)

    async def count_newer(self, source_id: int, created_at: int, limit: int) -> int:
        """Return how many jobs of a source are newer, counting to limit at most."""
        newer = (
            select(literal(1))
            .where(job.c.source_id == source_id, job.c.created_at > created_at)
            .limit(limit)
            .subquery()
        )
        return await self._carrier.read(
            lambda connection: (
                connection.scalar(select(func.count()).select_from(newer)) or 0
            )
        )

    async def unfinished(self) -> set[str]:
        """Return the names of the sources that have jobs which are not settled."""
        is_one = job.c.source_id == source.c.id
        open_jobs = select(literal(1)).where(is_one, ~job.c.settled, ~job.c.removed)
        found = select(source.c.name).where(open_jobs.exists())
        return await self._carrier.read(
            lambda connection: set(connection.execute(found).scalars())
        )

    async def orphans(self, configured: Sequence[str]) -> list[SourceRow]:
        """Return the sources that have jobs, lanes or events but no configuration."""
        rows = await self._carrier.read(_with_something)
        return [row for row in rows if row.name not in configured]

    async def pass_on(
        self, held: Fence, to: int, ids: Collection[str] | None = None
    ) -> list[str]:
        """Hand jobs of an orphan (None: all) to another source; return their ids.

        Only when its lanes are empty: their order is by source. Raises LeaseLost.
        """
        return await self._carrier.write(partial(_pass_on, held=held, to=to, ids=ids))


def _seconds(backfill: float | Literal["none", "all"] | None) -> float:
    if backfill == "all":
        return math.inf
    if backfill is None or backfill == "none":
        return 0.0
    return float(backfill)


def _contact(
    connection: Connection, row: dict[str, object], realm: str | None
) -> SourceRow:
    by_name = select(*SOURCE_COLUMNS).where(source.c.name == row["name"])
    found = connection.execute(by_name).one_or_none()
    if found is None:
        batch = Batch(connection)
        # Another replica may make the same first contact at the same moment.
        columns, values = tuple(row), tuple(row.values())
        batch.insert(source, columns, [values], conflict="ON CONFLICT DO NOTHING")
        batch.write()
        found = connection.execute(by_name).one()
    if realm is not None and found.realm != realm:
        connection.execute(
            update(source).where(source.c.id == found.id).values(realm=realm)
        )
        found = connection.execute(by_name).one()
    return SourceRow(*found)


def _save(
    connection: Connection, held: Fence, cursor: str | None, *, done: bool
) -> None:
    fence(connection, held)
    connection.execute(
        update(source)
        .where(source.c.id == held.source_id)
        .values(walk_cursor=cursor, walked=done)
    )


def _with_something(connection: Connection) -> list[SourceRow]:
    kept = (
        select(literal(1)).where(table.c.source_id == source.c.id).exists()
        for table in (job, lane, event)
    )
    found = select(*SOURCE_COLUMNS).where(or_(*kept)).order_by(source.c.id)
    return [SourceRow(*row) for row in connection.execute(found)]


def _pass_on(
    connection: Connection, held: Fence, to: int, ids: Collection[str] | None
) -> list[str]:
    fence(connection, held)
    # The counter of looks is of a lease: those of the new owner's begin below.
    hand_over = (
        update(job)
        .where(job.c.source_id == held.source_id)
        .values(source_id=to, term=0, look=0)
        .returning(job.c.id)
    )
    if ids is not None:
        hand_over = hand_over.where(job.c.id.in_(sorted(ids)))
    return list(connection.execute(hand_over).scalars())
