"""The jobs of /metrics: who is among them, and what becomes of those that were read.

First their keys, in order; then those that are shown, and only the kinds of the others.
Who is among them is asked over a connection; what was read by `gathered` is decoded by
functions of their own, for a thread: reading from PostgreSQL runs on the event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct
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
from tunewatch.store.gathered import Counted, Gathered
from tunewatch.store.overview import job_row
from tunewatch.store.schema import job

FAILED_STAYS = 3600.0
"""s a failed job stays in the window, so that an alert can fire and resolve."""
PART: Mapping[str, int] = {"sqlite": 400, "postgresql": 800}
"""Jobs that are read at once: some milliseconds for each step of the work.

More on PostgreSQL: a part takes four round trips, and after each the event loop has to
wait for the interpreter's lock. Still more would take more memory.
"""


class _Kind(Struct, frozen=True, gc=False):
    """What is counted of a `model.Job`."""

    status: str
    model: str | None = None
    method: Raw = Raw()


_kinds = msgspec.json.Decoder(list[_Kind])
_methods = msgspec.json.Decoder(dict[str, Any] | None)
_numbers = msgspec.json.Decoder(list[int])
_NEWEST_FIRST = (job.c.ended_at.is_not(None), -job.c.created_at, -job.c.key)
_ends = [state.value for state in JobStatus if state.is_terminal]


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


def parts(keys: list[int], size: int) -> list[list[int]]:
    """Return keys a part at a time."""
    return [keys[at : at + size] for at in range(0, len(keys), size)]


def job_rows(found: Gathered) -> dict[int, JobRow]:
    """Return jobs by their keys, as plugins see them."""
    return {stored.key: job_row(stored) for stored in found.stored()}


def kinds(found: Iterable[Counted]) -> Counter[JobKind]:
    """Return how many jobs of each kind there are."""
    # Told apart by what was said, so that few are looked at closely.
    alike = Counter(
        (source.name, said.status, said.model, bytes(said.method))
        for some in found
        for source, said in zip(some.sources, _kinds.decode(some.views), strict=True)
    )
    counted: Counter[JobKind] = Counter()
    for (source, status, model, method), count in alike.items():
        one = Job(id="", status=status, method=_methods.decode(method or b"null"))
        counted[JobKind(source, status, model, one.training_method)] += count
    return counted
