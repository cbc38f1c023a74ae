"""Events that were committed although nobody heard so: read back to be announced.

Knows positions and nothing of plugins.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select

from tunewatch.store.records import EventRef
from tunewatch.store.schema import event, job

MOST = 10_000
"""Events read at once."""

_after = (
    select(
        event.c.position,
        event.c.source_id,
        event.c.job_key,
        event.c.type,
        event.c.id,
        event.c.derived,
        job.c.metadata,
        event.c.body,
    )
    .join(job, job.c.key == event.c.job_key, isouter=True)
    .where(
        event.c.source_id == bindparam("source_id"),
        event.c.position > bindparam("after"),
    )
    .order_by(event.c.position)
    .limit(bindparam("limit"))
)
_newest = select(func.max(event.c.position)).where(
    event.c.source_id == bindparam("source_id")
)


def events_after(
    connection: Connection, source_id: int, after: int, *, limit: int = MOST
) -> list[EventRef]:
    """Return a source's events above a position, oldest first."""
    found = connection.execute(
        _after, {"source_id": source_id, "after": after, "limit": limit}
    )
    return [EventRef(*tuple(row)) for row in found]


def newest_position(connection: Connection, source_id: int) -> int:
    """Return the position of a source's newest event, 0 if it has none."""
    newest: int | None = connection.scalar(_newest, {"source_id": source_id})
    return newest or 0
