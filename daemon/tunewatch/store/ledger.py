"""Reading what was told and how far it got: events, totals, backlogs.

Plain functions over a connection; writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, Select, and_, func, select

from tunewatch.plugin import Count
from tunewatch.store import schema
from tunewatch.store.schema import counter, dead_letter, mark, position, source

_labels = msgspec.json.Decoder(dict[str, str])


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


IsWanted = Callable[[str, str, str], bool]
"""Whether a plugin wants events of this source and type."""


class Backlog(NamedTuple):
    """What waits for one plugin at one source."""

    plugin: str
    source: str
    position: int  #: up to which all is finished
    pending: int  #: events that wait; those that its metadata leaves out too
    oldest_at: float | None  #: unix seconds, of the first of them
    in_flight: int
    dead_letters: int  #: open ones


_event = select(
    schema.event.c.position,
    schema.event.c.id,
    schema.event.c.type,
    schema.event.c.source_id,
    schema.event.c.job_key,
    schema.event.c.sequence,
    schema.event.c.observed_at,
    schema.event.c.derived,
    schema.event.c.body,
)


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
    statement = _event.where(schema.event.c.position > after)
    if source is not None:
        name = schema.source.c.name == source
        source_id = connection.scalar(select(schema.source.c.id).where(name))
        statement = statement.where(schema.event.c.source_id == (source_id or 0))
    if job_key is not None:
        statement = statement.where(schema.event.c.job_key == job_key)
    if types is not None:
        statement = statement.where(schema.event.c.type.in_(types))
    ordered = statement.order_by(schema.event.c.position).limit(limit)
    return [StoredEvent(*row) for row in connection.execute(ordered)]


def event(connection: Connection, event_id: str) -> StoredEvent | None:
    """See `reads.Reader.event`."""
    statement = _event.where(schema.event.c.id == event_id)
    row = connection.execute(statement).one_or_none()
    return None if row is None else StoredEvent(*row)


def positions(connection: Connection) -> tuple[int, int]:
    """See `reads.Reader.positions`."""
    newest: int = connection.scalar(select(position.c.value)) or 0
    oldest: int | None = connection.scalar(select(func.min(schema.event.c.position)))
    return (newest + 1 if newest else 0) if oldest is None else oldest, newest


def counts(connection: Connection) -> list[Count]:
    """See `reads.Reader.counts`."""
    statement = select(
        source.c.name.label("source"), counter.c.name, counter.c.labels, counter.c.value
    ).join(source, source.c.id == counter.c.source_id)
    return [
        Count(
            name=row.name,
            labels={"source": row.source, **_labels.decode(row.labels)},
            value=row.value,
        )
        for row in connection.execute(
            statement.order_by(counter.c.name, source.c.name, counter.c.labels)
        )
    ]


def backlog(
    connection: Connection, at_most: int, is_wanted: IsWanted | None
) -> list[Backlog]:
    """See `reads.Reader.backlog`."""
    marks = connection.execute(
        select(mark, source.c.name.label("source"))
        .join(source, source.c.id == mark.c.source_id)
        .order_by(mark.c.plugin, source.c.name)
    ).all()
    found = []
    for row in marks:
        types = [
            one
            for one in connection.execute(_waiting_types(row, at_most))
            if is_wanted is None or is_wanted(row.plugin, row.source, one.type)
        ]
        found.append(
            Backlog(
                plugin=row.plugin,
                source=row.source,
                position=row.position,
                pending=sum(one.number for one in types),
                oldest_at=min((one.oldest for one in types), default=None),
                in_flight=len(msgspec.json.decode(row.in_flight)),
                dead_letters=_open_letters(connection, row.plugin, row.source_id),
            )
        )
    return found


def _waiting_types(at: Row[Any], at_most: int) -> Select[Any]:
    """Return the question what lies above a mark and above its lanes' cursors.

    Of at most so many events, because a plugin that was away for long has millions.
    """
    above = schema.event
    theirs = schema.lane
    is_theirs = and_(
        theirs.c.plugin == at.plugin,
        theirs.c.source_id == at.source_id,
        theirs.c.job_key == above.c.job_key,
    )
    waiting = (
        select(above.c.type, above.c.observed_at)
        .select_from(above.outerjoin(theirs, is_theirs))
        .where(
            above.c.source_id == at.source_id,
            above.c.position > at.position,
            above.c.position > func.coalesce(theirs.c.cursor, 0),
        )
        .order_by(above.c.position)
        .limit(at_most)
        .subquery()
    )
    return select(
        waiting.c.type,
        func.count().label("number"),
        func.min(waiting.c.observed_at).label("oldest"),
    ).group_by(waiting.c.type)


def _open_letters(connection: Connection, plugin: str, source_id: int) -> int:
    count = select(func.count()).where(
        dead_letter.c.plugin == plugin,
        dead_letter.c.closed_at.is_(None),
        dead_letter.c.source_id == source_id,
    )
    return connection.scalar(count) or 0
