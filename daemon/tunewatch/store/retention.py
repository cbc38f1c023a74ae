"""Forgetting what is old, a little at a time, and never what a lane still needs.

Whether clocks agree, and so whether anything may be forgotten, is the caller's to know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Integer,
    Table,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
)

from tunewatch.plugin import Clock
from tunewatch.store.carrier import Carrier
from tunewatch.store.leases import fence
from tunewatch.store.records import Fence
from tunewatch.store.schema import (
    checkpoint,
    dead_letter,
    entry,
    event,
    job,
    lane,
    mark,
    point,
    redelivery,
    stretch,
    tombstone,
)

CHUNK = 500
"""Rows removed in one transaction, at most: nobody waits long for it."""
ABSENT = 7 * 86400.0
"""s for which the marks of a plugin that left the configuration still count, and what
a redelivery needs that nobody takes."""


class Purged(NamedTuple):
    """What one round of forgetting removed."""

    events: int
    jobs: int
    rows: int  #: of every kind, the two included


class Retention:
    """Removes what is older than anyone wants to keep."""

    def __init__(self, carrier: Carrier, *, clock: Clock) -> None:
        self._carrier = carrier
        self._clock = clock

    async def purge(
        self,
        held: Fence,
        *,
        older_than: float,
        plugins: Sequence[str],
        absent_for: float = ABSENT,
        most: int | None = None,
    ) -> Purged:
        """Remove a source's events and jobs that ended more than so many seconds ago.

        `plugins` are those configured now. Stops after `most` transactions, if given;
        the next call goes on. Call it only while the clock is known to be right.
        Raises LeaseLost, StoreFault.
        """
        now = self._clock.now()
        scope = _Scope(held, now - older_than, tuple(plugins), now - absent_for, now)
        purged = Purged(0, 0, 0)
        left = most
        for remove in (_events, _jobs, _letters):
            while left is None or left > 0:
                done, removed = await self._carrier.write(scope.bound(remove))
                purged = Purged(*map(sum, zip(purged, removed, strict=True)))
                left = None if left is None else left - 1
                if done:
                    break
        return purged


class _Scope(NamedTuple):
    held: Fence
    before: float  #: unix seconds: what is older goes
    plugins: tuple[str, ...]
    absent_since: float
    now: float

    def bound(
        self, remove: Callable[[Connection, _Scope], tuple[bool, Purged]]
    ) -> Callable[[Connection], tuple[bool, Purged]]:
        def transaction(connection: Connection) -> tuple[bool, Purged]:
            fence(connection, self.held)
            return remove(connection, self)

        return transaction


def _floor(connection: Connection, scope: _Scope) -> int | None:
    """Return the position up to which no plugin needs anything, None for all."""
    counts = or_(
        mark.c.plugin.in_(scope.plugins), mark.c.last_used_at >= scope.absent_since
    )
    lanes = (
        select(func.min(lane.c.cursor))
        .join(
            mark,
            (mark.c.plugin == lane.c.plugin) & (mark.c.source_id == lane.c.source_id),
        )
        .where(
            lane.c.source_id == scope.held.source_id,
            lane.c.job_key >= 0,  # of the others their stretch tells
            counts,
        )
    )
    marks = select(func.min(mark.c.position)).where(
        mark.c.source_id == scope.held.source_id, counts
    )
    # Of whatever source: a step into the index for each redelivery.
    first = (
        select(stretch.c.first)
        .where(stretch.c.redelivery == redelivery.c.id)
        .order_by(stretch.c.redelivery, stretch.c.first)
        .limit(1)
        .scalar_subquery()
    )
    asked = select(func.min(first) - 1).where(redelivery.c.at >= scope.absent_since)
    found = [connection.scalar(one) for one in (lanes, marks, asked)]
    return min((one for one in found if one is not None), default=None)


def _events(connection: Connection, scope: _Scope) -> tuple[bool, Purged]:
    floor = _floor(connection, scope)
    statement = (
        select(event.c.position, event.c.observed_at)
        .where(event.c.source_id == scope.held.source_id)
        .order_by(event.c.position)
        .limit(CHUNK)
    )
    if floor is not None:
        statement = statement.where(event.c.position <= floor)
    found = connection.execute(statement).all()
    old = [row.position for row in found if row.observed_at < scope.before]
    if old:
        connection.execute(delete(event).where(event.c.position.in_(old)))
    # Time may have stepped back between commits: what is younger does not end the
    # search within a chunk, but a chunk with nothing old does.
    done = len(found) < CHUNK or len(old) < len(found)
    return done, Purged(len(old), 0, len(old))


def _jobs(connection: Connection, scope: _Scope) -> tuple[bool, Purged]:
    """Remove the facts of old jobs, then each job that has nothing left."""
    told = select(event.c.position).where(event.c.job_key == job.c.key).exists()
    found = connection.execute(
        select(job.c.key, job.c.realm, job.c.id, job.c.status)
        .where(
            # As an integer: compared as a float, the column finds no index.
            job.c.ended_at < int(scope.before),
            # The plus: not through every job of the source, by age, to sort them.
            literal_column("+job.source_id", Integer) == scope.held.source_id,
            job.c.settled,
            ~told,
        )
        .order_by(job.c.ended_at)
        .limit(CHUNK // 4)
    ).all()
    removed = jobs = 0
    for row in found:
        for table in (point, entry, checkpoint):
            removed += _clear(connection, table, row.key, CHUNK - removed)
        if removed >= CHUNK:
            return False, Purged(0, jobs, removed)
        _bury(connection, row, scope.now)
        jobs += 1
        removed += 1
    return len(found) < CHUNK // 4, Purged(0, jobs, removed)


def _clear(connection: Connection, table: Table, key: int, most: int) -> int:
    if most <= 0:
        return 0
    name = table.c.n if "n" in table.c else table.c.id
    some = select(name).where(table.c.job_key == key).limit(most).scalar_subquery()
    gone = connection.execute(
        delete(table).where(table.c.job_key == key, name.in_(some))
    )
    return gone.rowcount


def _bury(connection: Connection, row: Any, now: float) -> None:
    """Leave a tombstone, so that a list which still shows the job raises nothing."""
    connection.execute(
        insert(tombstone).values(realm=row.realm, id=row.id, status=row.status, at=now)
    )
    connection.execute(delete(lane).where(lane.c.job_key == row.key))
    connection.execute(delete(job).where(job.c.key == row.key))


def _letters(connection: Connection, scope: _Scope) -> tuple[bool, Purged]:
    old = connection.execute(
        select(dead_letter.c.id)
        .where(
            dead_letter.c.source_id == scope.held.source_id,
            dead_letter.c.at < scope.before,
        )
        .limit(CHUNK)
    ).scalars()
    ids = list(old)
    if ids:
        connection.execute(delete(dead_letter).where(dead_letter.c.id.in_(ids)))
    return len(ids) < CHUNK, Purged(0, 0, len(ids))
