"""Forgetting of the delivery log and of records what is too old or too much.

By age and by number of rows: whichever is reached first. Belongs to no source, so that
whoever has the store open may do it; two who do it at once do no harm.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, Select, Table, delete, func, select

from tunewatch.store.carrier import Carrier
from tunewatch.store.schema import attempt, audit, redelivery, stretch

CHUNK = 1000
"""Rows of a kind removed in one transaction, at most: nobody waits long for it."""


class Bounds(NamedTuple):
    """What is kept of the log, and of the records of what was asked for."""

    rows: int  #: of the log, at most
    log_since: float | None  #: unix seconds: what is older goes; None: nothing by age
    record_since: float | None  #: the same for redeliveries that are over, and audit


async def trim(carrier: Carrier, bounds: Bounds, *, most: int) -> int:
    """Remove what is beyond the bounds, in at most so many transactions.

    Returns how many rows went. Raises StoreFault.
    """
    removed = 0
    for _ in range(most):
        done = await carrier.write(partial(_trim, bounds=bounds))
        removed += done
        if done < CHUNK:
            break
    return removed


def _trim(connection: Connection, bounds: Bounds) -> int:
    # All of them each time: a log that is never done must not keep the records.
    return sum(forget(connection, bounds) for forget in (_log, _record, _audited))


def _log(connection: Connection, bounds: Bounds) -> int:
    newest = connection.scalar(select(func.max(attempt.c.id)))
    if newest is None:
        return 0
    # Never the newest row: SQLite would give its id once more.
    oldest = (
        select(attempt.c.id, attempt.c.at)
        .where(attempt.c.id < newest)
        .order_by(attempt.c.id)
        .limit(CHUNK)
    )
    since = float("-inf") if bounds.log_since is None else bounds.log_since
    last, count = 0, 0
    for row in connection.execute(oldest):
        if row.id > newest - bounds.rows and row.at >= since:
            break  # what lies behind is younger, but for a clock that stepped
        last, count = row.id, count + 1
    if count:
        connection.execute(delete(attempt).where(attempt.c.id <= last))
    return count


def _record(connection: Connection, bounds: Bounds) -> int:
    if bounds.record_since is None:
        return 0
    is_left = select(stretch.c.id).where(stretch.c.redelivery == redelivery.c.id)
    old = (
        select(redelivery.c.id)
        .where(redelivery.c.at < bounds.record_since, ~is_left.exists())
        .order_by(redelivery.c.id)
    )
    return _forget(connection, redelivery, old)


def _audited(connection: Connection, bounds: Bounds) -> int:
    if bounds.record_since is None:
        return 0
    old = select(audit.c.id).where(audit.c.at < bounds.record_since)
    return _forget(connection, audit, old.order_by(audit.c.at))


def _forget(connection: Connection, table: Table, old: Select[tuple[int]]) -> int:
    """Remove the first of the rows whose ids are asked for; return how many."""
    ids = list(connection.execute(old.limit(CHUNK)).scalars())
    if ids:
        connection.execute(delete(table).where(table.c.id.in_(ids)))
    return len(ids)
