"""The jobs of /metrics: who is among them, and what of them, read some at a time.

First their keys, in order; then those that are shown, and only the kinds of the others.
Plain functions over a connection; writes nothing. What was read is decoded by functions
of their own, for a thread: reading from PostgreSQL runs on the event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    or_,
    select,
)

from tunewatch.events import has_metadata
from tunewatch.model import Job, JobStatus
from tunewatch.plugin import JobKind, JobRow
from tunewatch.store.overview import job_row
from tunewatch.store.schema import job
from tunewatch.store.statements import fetch

FAILED_STAYS = 3600.0
"""s a failed job stays in the window, so that an alert can fire and resolve."""
PART = 400
"""Jobs that are read at once: some milliseconds for each step of the work."""


class Stored(NamedTuple):
    """A row of `rows` by name; most readers take it apart by place, which is faster."""

    key: int
    source: str
    first_contact_at: float
    realm: str
    view: bytes
    state: bytes
    selection: bytes | None
    revision: int
    sequence: int


class _Kind(msgspec.Struct):
    """What is counted of a `model.Job`."""

    status: str
    model: str | None = None
    method: dict[str, Any] | None = None


_kinds = msgspec.json.Decoder(_Kind)
_numbers = msgspec.json.Decoder(list[int])
_NEWEST_FIRST = (job.c.ended_at.is_not(None), -job.c.created_at, -job.c.key)
_ends = [state.value for state in JobStatus if state.is_terminal]

# As text for the driver, and the keys as one value: the layers above would cost as much
# as reading the jobs.
_ALL = (
    "SELECT j.key, s.name, s.first_contact_at, j.realm, j.view, j.state, j.selection,"
    " j.revision, j.sequence"
    " FROM job j JOIN source s ON s.id = j.source_id WHERE j.key"
)
_COUNTED = (
    "SELECT s.name, j.view FROM job j JOIN source s ON s.id = j.source_id WHERE j.key"
)


def window(
    connection: Connection,
    *,
    now: float,
    finished_within: float,
    source_ids: Sequence[int] | None,
    enough: int = 0,
    metadata: Mapping[str, str] | None = None,
) -> list[int]:
    """Return the keys of the jobs that are not settled or ended lately.

    Those that go on come first, and the newest first; but if there are no more than
    `enough` in any order, which is quicker. A removed job is just gone. Only those that
    have all of `metadata`.
    """
    since, failed_since = now - finished_within, now - FAILED_STAYS
    lately = and_(
        job.c.settled,
        job.c.status.in_(_ends),
        job.c.ended_at >= int(min(since, failed_since)),
        or_(job.c.ended_at >= int(since), job.c.status == JobStatus.FAILED.value),
    )
    keys: list[int] = []
    # One question per index: together they would be a scan of all jobs.
    for some in (~job.c.settled, lately):
        which = _of_sources(some, source_ids)
        if metadata:
            keys += _with_metadata(connection, which, metadata)
            continue
        found = _keys(connection, which) if enough else []
        if not found or len(keys) + len(found) > enough:
            found = _keys(connection, which, *_NEWEST_FIRST)
        keys += found
    return keys


def _of_sources(
    which: ColumnElement[bool], source_ids: Sequence[int] | None
) -> ColumnElement[bool]:
    if source_ids is None:
        return which
    # The sum keeps SQLite off the index by source and age: it would read every job.
    return and_(which, (job.c.source_id + 0).in_(source_ids))


def _with_metadata(
    connection: Connection, which: ColumnElement[bool], metadata: Mapping[str, str]
) -> list[int]:
    """Return keys in order: few want this, and no index could answer it."""
    said = and_(which, job.c.metadata.is_not(None))
    found = select(job.c.key, job.c.metadata).where(said).order_by(*_NEWEST_FIRST)
    rows = connection.execute(found).all()
    return [key for key, has in rows if has_metadata(has, metadata)]


def _keys(
    connection: Connection, which: ColumnElement[bool], *order: ColumnElement[Any]
) -> list[int]:
    """Return keys in order, as one value: as rows they would cost ten times as much."""
    if connection.dialect.name == "sqlite":
        # A limit, or SQLite could think that the order does not matter.
        found = select(job.c.key).where(which).order_by(*order).limit(-1).subquery()
        listed = connection.scalar(select(func.json_group_array(found.c.key)))
        return _numbers.decode(listed or "[]")
    listed = func.array_agg(job.c.key)
    ordered = listed.aggregate_order_by(*order) if order else listed
    return connection.scalar(select(ordered).where(which)) or []


def parts(keys: Sequence[int]) -> Iterator[list[int]]:
    """Yield keys a part at a time."""
    for at in range(0, len(keys), PART):
        yield list(keys[at : at + PART])


def rows(connection: Connection, keys: list[int]) -> list[Any]:
    """Read jobs in the order of keys, as `Stored`; one that is gone is left out."""
    found = {row[0]: row for row in _read(connection, _ALL, keys)}
    return [found[key] for key in keys if key in found]


def job_rows(found: Sequence[Any]) -> list[JobRow]:
    """Return `rows` as plugins see them."""
    return [job_row(Stored._make(row)) for row in found]


def views(connection: Connection, keys: list[int]) -> Sequence[Any]:
    """Read no more of jobs than what they are counted by."""
    return _read(connection, _COUNTED, keys)


def _read(connection: Connection, question: str, keys: list[int]) -> Sequence[Any]:
    if connection.dialect.name == "sqlite":
        listed = msgspec.json.encode(keys).decode()
        among = "IN (SELECT value FROM json_each(?))"
        return fetch(connection, f"{question} {among}", [listed])
    return fetch(connection, f"{question} = ANY ($1::bigint[])", [keys])


def kinds(found: Sequence[Any]) -> Counter[JobKind]:
    """Return how many jobs of each kind there are among views."""
    return Counter(_kind(name, view) for name, view in found)


def _kind(source: str, view: bytes) -> JobKind:
    said = _kinds.decode(view)
    one = Job(id="", status=said.status, model=said.model, method=said.method)
    return JobKind(source, one.status, one.model, one.training_method)
