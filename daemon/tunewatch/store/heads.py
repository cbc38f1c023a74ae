"""What comes next in a lane: the first positions that are wanted, and no body.

By index, a few at a time: a million events of one job cost as much as one. Whether a
plugin wants an event is asked of the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from tunewatch.store.statements import fetch

HEADS = 32
"""Positions to learn at once of a lane: the next ones need no query then."""
_SCANS = (HEADS + 1, 128, 512)
"""Events of a job to look at in the first, second and further queries."""

Wanted = Callable[[str, bool], bool]
"""Whether an event of this type, derived or not, is wanted. Called in any thread."""


class Heads(NamedTuple):
    """The next wanted positions of a lane; `more`: there are further events."""

    positions: list[int]
    more: bool


class Reach(NamedTuple):
    """The events of a job that a lane may want: those in (after, upto]."""

    job_key: int
    after: int
    upto: int
    wanted: Wanted


# The plus keeps both engines off the index by source: of a job with a million events
# behind it they must read the next few and no more.
NEXT = text(
    "SELECT position, type, derived FROM event WHERE job_key = :job"
    " AND +source_id = :source AND position > :after AND position <= :upto"
    " ORDER BY position LIMIT :most"
)
# The same of many jobs: what costs on PostgreSQL is the round trip.
NEXT_OF_EACH = (
    "SELECT a.place, e.position, e.type, e.derived"
    " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])"
    " WITH ORDINALITY AS a (job, after, upto, place), LATERAL"
    " (SELECT position, type, derived FROM event WHERE job_key = a.job"
    " AND +source_id = $4::bigint AND position > a.after AND position <= a.upto"
    " ORDER BY position LIMIT $5::bigint) e ORDER BY a.place, e.position"
)


def heads(connection: Connection, source_id: int, reach: Reach) -> Heads:
    """Return the first wanted positions of a job."""
    return _search(connection, source_id, reach, [], scans=0)


def heads_of_each(
    connection: Connection, source_id: int, reaches: Sequence[Reach]
) -> list[Heads]:
    """Return the first wanted positions of many jobs, in their order."""
    if connection.dialect.name == "sqlite" or len(reaches) < 2:
        return [heads(connection, source_id, reach) for reach in reaches]
    most = _SCANS[0]
    jobs, after, upto, _ = zip(*reaches, strict=True)
    rows = fetch(connection, NEXT_OF_EACH, [jobs, after, upto, source_id, most])
    seen = {place: list(some) for place, some in groupby(rows, key=lambda row: row[0])}
    found: list[Heads] = []
    for place, reach in enumerate(reaches, start=1):
        events = [tuple(row)[1:] for row in seen.get(place, ())]
        positions = _wanted(events, reach)
        if len(events) < most or len(positions) > HEADS:
            found.append(_cut(positions))
        else:
            rest = reach._replace(after=events[-1][0])
            found.append(_search(connection, source_id, rest, positions, scans=1))
    return found


def _search(
    connection: Connection,
    source_id: int,
    reach: Reach,
    found: list[int],
    *,
    scans: int,
) -> Heads:
    """Go on after `scans` queries that brought `found`."""
    after = reach.after
    values = {"source": source_id, "job": reach.job_key, "upto": reach.upto}
    while True:
        most = _SCANS[min(scans, len(_SCANS) - 1)]
        rows = connection.execute(NEXT, {**values, "after": after, "most": most}).all()
        scans += 1
        found.extend(_wanted(rows, reach))
        if len(found) > HEADS or len(rows) < most:
            return _cut(found)
        after = rows[-1].position


def _wanted(events: Iterable[Any], reach: Reach) -> list[int]:
    return [p for p, kind, derived in events if reach.wanted(kind, bool(derived))]


def _cut(positions: list[int]) -> Heads:
    return Heads(positions[:HEADS], more=len(positions) > HEADS)
