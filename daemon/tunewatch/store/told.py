"""Reading events: by position, by id, and where the log begins and ends.

Positions are commit order: whoever has read up to one has missed nothing below it.
Plain functions over a connection; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from tunewatch.store import schema
from tunewatch.store.schema import event, position


class StoredEvent(NamedTuple):
    """An event as it is kept."""

    position: int
    id: str
    type: str
    source_id: int
    job_key: int  #: 0: of the source itself
    sequence: int
    observed_at: float  #: unix seconds
    derived: bool
    body: bytes  #: as it goes over the wire


class Spot(NamedTuple):
    """An event's place among all."""

    position: int
    event_id: str


STORED = (
    event.c.position,
    event.c.id,
    event.c.type,
    event.c.source_id,
    event.c.job_key,
    event.c.sequence,
    event.c.observed_at,
    event.c.derived,
    event.c.body,
)
"""What makes a `StoredEvent`, in its order."""


def events(
    connection: Connection,
    *,
    after: int,
    limit: int,
    source: str | None,
    job_key: int | None,
    types: Sequence[str] | None,
) -> list[StoredEvent]:
    """See `reads.Reader.events`."""
    statement = select(*STORED).where(event.c.position > after)
    if source is not None:
        statement = statement.where(
            event.c.source_id == source_id_of(connection, source)
        )
    if job_key is not None:
        statement = statement.where(event.c.job_key == job_key)
    if types is not None:
        statement = statement.where(event.c.type.in_(types))
    ordered = statement.order_by(event.c.position).limit(limit)
    return [StoredEvent(*row) for row in connection.execute(ordered)]


def one_event(connection: Connection, event_id: str) -> StoredEvent | None:
    """See `reads.Reader.event`."""
    statement = select(*STORED).where(event.c.id == event_id)
    row = connection.execute(statement).one_or_none()
    return None if row is None else StoredEvent(*row)


def positions(connection: Connection) -> tuple[int, int]:
    """See `reads.Reader.positions`."""
    newest: int = connection.scalar(select(position.c.value)) or 0
    oldest: int | None = connection.scalar(select(func.min(event.c.position)))
    return (newest + 1 if newest else 0) if oldest is None else oldest, newest


def is_spot(connection: Connection, spot: Spot) -> bool:
    """See `reads.Reader.is_spot`."""
    found = select(event.c.id).where(event.c.position == spot.position)
    return connection.scalar(found) == spot.event_id


def newest_spot(connection: Connection) -> Spot | None:
    """See `reads.Reader.newest_spot`."""
    newest = select(event.c.position, event.c.id).order_by(event.c.position.desc())
    row = connection.execute(newest.limit(1)).first()
    return None if row is None else Spot(*row)


def source_id_of(connection: Connection, name: str) -> int:
    """Return the id of a source; 0, which is nobody's, if there is none."""
    found = connection.scalar(
        select(schema.source.c.id).where(schema.source.c.name == name)
    )
    return found or 0
