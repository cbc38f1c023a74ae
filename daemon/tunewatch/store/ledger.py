"""Reading how far what was told has got: totals and backlogs.

Plain functions over a connection; writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    func,
    select,
    text,
)

from tunewatch.plugin import Count
from tunewatch.store import schema
from tunewatch.store.schema import counter, dead_letter, mark, source

_labels = msgspec.json.Decoder(dict[str, str])
_size = text(
    "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
    " WHERE relname = ANY (:names) AND relkind = 'r' AND pg_table_is_visible(oid)"
).bindparams(bindparam("names", type_=ARRAY(Text)))


_event = schema.event
# Ordered, so that the first one is found by the index, however many there are.
_next = (
    select(_event.c.position)
    .where(_event.c.source_id == mark.c.source_id, _event.c.position > mark.c.position)
    .order_by(_event.c.source_id, _event.c.position)
    .limit(1)
)
_open_letters = select(func.count()).where(
    dead_letter.c.plugin == mark.c.plugin,
    dead_letter.c.closed_at.is_(None),
    dead_letter.c.source_id == mark.c.source_id,
)
# Where nothing waits, as nearly everywhere nearly always, this is all that is asked.
_marks = (
    select(
        mark,
        source.c.name.label("source"),
        _next.correlate(mark).scalar_subquery().label("ahead"),
        _open_letters.correlate(mark).scalar_subquery().label("dead_letters"),
    )
    .join(source, source.c.id == mark.c.source_id)
    .order_by(mark.c.plugin, source.c.name)
)
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


def count_rows(
    connection: Connection, source_ids: Sequence[int] | None
) -> Sequence[Any]:
    """Read what `counts` makes totals of."""
    statement = select(
        source.c.name, counter.c.name, counter.c.labels, counter.c.value
    ).join(source, source.c.id == counter.c.source_id)
    if source_ids is not None:
        statement = statement.where(counter.c.source_id.in_(source_ids))
    order = (counter.c.name, source.c.name, counter.c.labels)
    return connection.execute(statement.order_by(*order)).all()


def counts(found: Sequence[Any]) -> list[Count]:
    """See `reads.Reader.counts`."""
    return [
        Count(
            name=name,
            labels={"source": of, **_labels.decode(labels)},
            value=value,
        )
        for of, name, labels, value in found
    ]


def size(connection: Connection) -> int:
    """See `reads.Reader.size`."""
    names = sorted(schema.metadata.tables)
    return int(connection.scalar(_size, {"names": names}) or 0)


def backlog(
    connection: Connection, at_most: int, is_wanted: IsWanted | None
) -> list[Backlog]:
    """See `reads.Reader.backlog`."""
    found = []
    for row in connection.execute(_marks).all():
        types = [
            one
            for one in _waiting_types(connection, row, at_most)
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
                dead_letters=row.dead_letters,
            )
        )
    return found


def _waiting_types(
    connection: Connection, at: Row[Any], at_most: int
) -> Sequence[Row[Any]]:
    if at.ahead is None:
        return []
    values = {
        "plugin": at.plugin,
        "source_id": at.source_id,
        "position": at.position,
        "at_most": at_most,
    }
    return connection.execute(_types, values).all()


def _above_a_mark() -> Select[Any]:
    """Return the question what lies above a mark and above its lanes' cursors.

    Of at most so many events, because a plugin that was away for long has millions.
    Made once: it is asked for every plugin at every source, again and again.
    """
    mark_at = bindparam("position", type_=schema.event.c.position.type)
    at_source = bindparam("source_id", type_=schema.event.c.source_id.type)
    above = schema.event
    theirs = schema.lane
    is_theirs = and_(
        theirs.c.plugin == bindparam("plugin"),
        theirs.c.source_id == at_source,
        theirs.c.job_key == above.c.job_key,
    )
    waiting = (
        select(above.c.type, above.c.observed_at)
        .select_from(above.outerjoin(theirs, is_theirs))
        .where(
            above.c.source_id == at_source,
            above.c.position > mark_at,
            above.c.position > func.coalesce(theirs.c.cursor, 0),
        )
        .order_by(above.c.position)
        .limit(bindparam("at_most", type_=Integer))
        .subquery()
    )
    return select(
        waiting.c.type,
        func.count().label("number"),
        func.min(waiting.c.observed_at).label("oldest"),
    ).group_by(waiting.c.type)


_types = _above_a_mark()
