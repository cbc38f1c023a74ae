"""Which jobs a source has, which are known at all, and how far they are.

Plain functions over a connection, for what a poller asks; writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, literal_column, select

from tunewatch.model import Job
from tunewatch.store.kept import state_of, view_of
from tunewatch.store.records import PeekedJob, SourceRow, TrackedJob
from tunewatch.store.schema import job, source, tombstone

SOURCE_COLUMNS = (
    source.c.id,
    source.c.name,
    source.c.kind,
    source.c.realm,
    source.c.first_contact_at,
    source.c.backfill_before,
    source.c.walk_cursor,
    source.c.walked,
)


def all_sources(connection: Connection) -> list[SourceRow]:
    """Return every source, by id."""
    rows = connection.execute(select(*SOURCE_COLUMNS).order_by(source.c.id))
    return [SourceRow(*row) for row in rows]


class Outage(Struct, frozen=True, kw_only=True):
    """Whether a source was down when it was last told."""

    down: bool = False
    since: str | None = None  #: ISO 8601
    reason: str | None = None


_outages = msgspec.json.Decoder(Outage)


def outages(connection: Connection) -> dict[int, Outage]:
    """See `reads.Reader.outages`."""
    rows = connection.execute(select(source.c.id, source.c.state))
    return {row.id: _outages.decode(row.state or b"{}") for row in rows}


class KnownJob(NamedTuple):
    """A job as a list page is judged against it. Key 0: retention purged it."""

    key: int
    status: str
    settled: bool
    source_id: int
    removed: bool = False


def tracked_jobs(
    connection: Connection, source_id: int, decode: Callable[[bytes], Job]
) -> list[TrackedJob]:
    """See `sources.Sources.tracked`."""
    statement = (
        select(job.c.key, job.c.id, job.c.raw, job.c.state, job.c.created_at)
        .where(job.c.source_id == source_id, ~job.c.settled, ~job.c.removed)
        # The plus: what is not settled has an index, and is few enough to be sorted.
        .order_by(literal_column("+job.created_at"), job.c.key)
    )
    return [
        TrackedJob(
            key=row.key,
            id=row.id,
            job=decode(row.raw),
            state=state_of(row.state),
            created_at=row.created_at,
        )
        for row in connection.execute(statement)
    ]


def known_jobs(
    connection: Connection, realm: str, ids: Sequence[str]
) -> dict[str, KnownJob]:
    """See `sources.Sources.known_jobs`."""
    if not ids:
        return {}
    dead = select(tombstone.c.id, tombstone.c.status).where(
        tombstone.c.realm == realm, tombstone.c.id.in_(ids)
    )
    known = {
        row.id: KnownJob(0, row.status, settled=True, source_id=0)
        for row in connection.execute(dead)
    }
    living = select(
        job.c.id,
        job.c.key,
        job.c.status,
        job.c.settled,
        job.c.source_id,
        job.c.removed,
    ).where(job.c.realm == realm, job.c.id.in_(ids))
    known.update((row[0], KnownJob(*row[1:])) for row in connection.execute(living))
    return known


def peeked_jobs(
    connection: Connection, realm: str, ids: Sequence[str]
) -> dict[str, PeekedJob]:
    """See `sources.Sources.peek`."""
    if not ids:
        return {}
    rows = connection.execute(
        select(
            job.c.key, job.c.id, job.c.source_id, source.c.name, job.c.view, job.c.state
        )
        .join(source, source.c.id == job.c.source_id)
        .where(job.c.realm == realm, job.c.id.in_(ids))
    )
    return {
        row.id: PeekedJob(
            key=row.key,
            id=row.id,
            source_id=row.source_id,
            owner=row.name,
            job=view_of(row.view),
            state=state_of(row.state),
        )
        for row in rows
    }
