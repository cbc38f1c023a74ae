"""What waits for plugins, read from the journal: what is new, how much, and bodies.

Reads only, by indexes, never a body that nobody asked for. What is next in a lane is
asked of `heads`; whether a plugin wants an event, of the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from tunewatch.store.heads import Wanted
from tunewatch.store.records import EventRef
from tunewatch.store.statements import Batch, Proof, Question

PART = 100_000
"""Positions that are grouped at once: one statement must not outlast its time."""
_BODIES = (1, 8, 64)
"""Lengths of IN lists, so that there are few statements to compile."""


class Headline(NamedTuple):
    """An event as far as subscriptions need it."""

    position: int
    job_key: int
    type: str
    derived: bool
    metadata: bytes | None


class Pending(NamedTuple):
    """The events of one type that one job has above a mark."""

    job_key: int
    type: str
    derived: bool
    first: int
    last: int
    metadata: bytes | None


class Span(NamedTuple):
    """The wanted events of a lane that are too old: from the first to the last."""

    job_key: int
    first: int
    last: int


_NEWEST = text("SELECT max(position) FROM event WHERE source_id = :source")
_NEWS = text(
    "SELECT e.position, e.job_key, e.type, e.derived, j.metadata"
    " FROM event e LEFT JOIN job j ON j.key = e.job_key"
    " WHERE e.source_id = :source AND e.position > :after"
    " ORDER BY e.position LIMIT :most"
)
_PENDING = text(
    "SELECT p.job_key, p.type, p.derived, p.first, p.last, j.metadata FROM ("
    " SELECT job_key, type, derived, min(position) AS first, max(position) AS last"
    " FROM event WHERE source_id = :source AND position > :after"
    " AND position <= :upto GROUP BY job_key, type, derived"
    ") p LEFT JOIN job j ON j.key = p.job_key"
)
_SPAN = text(
    "SELECT type, derived, min(position), max(position) FROM event"
    " WHERE job_key = :job AND +source_id = :source AND position > :after"
    " AND position <= :upto GROUP BY type, derived"
)
_AT = "SELECT position, source_id, job_key, type, id, derived, body FROM event WHERE "
_AT_ONE_OF = {
    length: f"{_AT} position IN ({', '.join('?' * length)})" for length in _BODIES
}


def _at_any_of(number: int) -> str:
    return f"{_AT} position = ANY(${number}::bigint[])"


_OBSERVED = text(
    "SELECT position, observed_at FROM event WHERE source_id = :source"
    " AND position >= :at AND position <= :upto ORDER BY position LIMIT 1"
)
_YOUNG = text(
    "SELECT position FROM event WHERE source_id = :source AND position > :after"
    " AND position <= :upto AND observed_at >= :moment ORDER BY position LIMIT 1"
)
_LOOKED_BACK = 100_000
"""Positions up to one that seems old, which may tell that it is younger: as many as are
gone through in a tenth of a second."""


def newest(connection: Connection, source_id: int) -> int:
    """Return the position of a source's last event, 0 if it has none."""
    return connection.execute(_NEWEST, {"source": source_id}).scalar() or 0


def news(
    connection: Connection, source_id: int, *, after: int, most: int
) -> list[Headline]:
    """Return what was committed after a position, in commit order."""
    rows = connection.execute(
        _NEWS, {"source": source_id, "after": after, "most": most}
    )
    return [Headline(p, key, kind, bool(d), meta) for p, key, kind, d, meta in rows]


def pending(
    connection: Connection, source_id: int, *, after: int, upto: int
) -> list[Pending]:
    """Return what lies in (after, upto], by job and type: never an event each.

    A long range is to be asked for in parts of `PART` and put together by `merged`.
    """
    rows = connection.execute(
        _PENDING, {"source": source_id, "after": after, "upto": upto}
    )
    return [Pending(key, kind, bool(d), *rest) for key, kind, d, *rest in rows]


def merged(parts: Iterable[Pending]) -> list[Pending]:
    """Return one entry for each job and type from several ranges, in their order."""
    whole: dict[tuple[int, str, bool], Pending] = {}
    for part in parts:
        key = (part.job_key, part.type, part.derived)
        before = whole.get(key)
        whole[key] = part if before is None else before._replace(last=part.last)
    return list(whole.values())


def bodies(connection: Connection, positions: Iterable[int]) -> list[EventRef]:
    """Return the events at these positions, without their jobs' metadata."""
    wanted = set(positions)
    return write_and_read(connection, Batch(connection), wanted) if wanted else []


def write_and_read(
    connection: Connection,
    batch: Batch,
    positions: Iterable[int],
    *,
    proof: Proof | None = None,
) -> list[EventRef]:
    """Run a batch first, and return what `bodies` does.

    On PostgreSQL as one statement, and only under the proof.
    """
    wanted = sorted(set(positions))
    if connection.dialect.name == "sqlite":
        batch.write()
        rows: Iterable[Any] = _rows_at(connection, wanted)
    else:
        rows = batch.write_and_ask(Question(_at_any_of, [wanted]), proof)
    return [
        EventRef(position, source, key, kind, name, bool(derived), None, bytes(body))
        for position, source, key, kind, name, derived, body in rows
    ]


def _rows_at(connection: Connection, positions: list[int]) -> Iterator[Any]:
    left = positions
    while left:
        length = next((n for n in _BODIES if n >= len(left)), _BODIES[-1])
        now, left = left[:length], left[length:]
        # Padded with its last one: IN takes it once.
        padded = (*now, *[now[-1]] * (length - len(now)))
        yield from connection.exec_driver_sql(_AT_ONE_OF[length], padded)


def observed_before(
    connection: Connection, source_id: int, *, moment: float, after: int, upto: int
) -> int:
    """Return the last position up to which everything was observed before a moment.

    `after` if nothing behind it was. By bisection: commit order is the order of
    observation, and there is no index on times.
    """
    low, high = after, upto
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            _OBSERVED, {"source": source_id, "at": middle + 1, "upto": upto}
        ).first()
        if row is not None and row.observed_at < moment:
            low = row.position
        else:
            high = middle
    return low


def older_than(
    connection: Connection, source_id: int, *, moment: float, after: int, upto: int
) -> int:
    """Return the last position up to which everything surely is older than a moment.

    `after` if nothing behind it is. What was committed after something young is not
    old, whatever it says: one that was observed while a clock was off by a year, that
    of one of several replicas perhaps, must not become a dead letter.
    """
    old = observed_before(connection, source_id, moment=moment, after=after, upto=upto)
    if old == after:
        return after
    values = {"source": source_id, "after": old - _LOOKED_BACK, "upto": old}
    first = connection.scalar(_YOUNG, {**values, "moment": moment})
    return old if first is None else max(after, first - 1)


def spans(
    connection: Connection,
    source_id: int,
    lanes: Sequence[tuple[int, int]],
    wanted: Wanted,
    *,
    upto: int,
) -> list[Span]:
    """Return for each (job, position after which) its wanted events up to `upto`.

    Jobs without any are left out.
    """
    found: list[Span] = []
    values = {"source": source_id, "upto": upto}
    for job_key, after in lanes:
        rows = connection.execute(_SPAN, {**values, "job": job_key, "after": after})
        ends = [
            (first, last)
            for kind, derived, first, last in rows
            if wanted(kind, bool(derived))
        ]
        if ends:
            first, last = min(end[0] for end in ends), max(end[1] for end in ends)
            found.append(Span(job_key, first, last))
    return found
