"""Reading jobs: rows for lists, one job in full, the window of /metrics.

Plain functions over a connection; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, Select, and_, or_, select, tuple_

from tunewatch.diff import JobState
from tunewatch.model import Checkpoint, Job, JobStatus, MetricPoint, Selection, Snapshot
from tunewatch.plugin import JobRow
from tunewatch.store.schema import checkpoint, job, point, source

FAILED_STAYS = 3600.0
"""s a failed job stays in the window, so that an alert can fire and resolve."""

_views = msgspec.json.Decoder(Job)
_states = msgspec.json.Decoder(JobState)
_selections = msgspec.json.Decoder(Selection)
_checkpoints = msgspec.json.Decoder(Checkpoint)
_metrics = msgspec.json.Decoder(dict[str, float])

_CHUNK = 200


class JobPage(NamedTuple):
    """Some jobs of a list."""

    rows: list[JobRow]
    has_more: bool


class FoundJob(NamedTuple):
    """Where a job of a given id was found."""

    key: int
    source: str
    row: JobRow


_overview = select(
    job.c.key,
    source.c.name.label("source"),
    job.c.realm,
    job.c.view,
    job.c.state,
    job.c.selection,
    job.c.revision,
    job.c.created_at,
).join(source, source.c.id == job.c.source_id)
_newest_first = (job.c.created_at.desc(), job.c.key.desc())


def _row(found: Row[Any]) -> JobRow:
    state = _states.decode(found.state)
    return JobRow(
        source=found.source,
        realm=found.realm,
        job=_views.decode(found.view),
        settled=state.settled,
        started_at=state.started_at,
        status_changed_at=state.status_changed_at,
        last_event_at=state.last_event_at,
        step=state.step,
        total_steps=state.total_steps,
        latest={key: latest.value for key, latest in state.latest.items()},
        selection=_selection(found.selection),
        revision=found.revision,
    )


def _selection(body: bytes | None) -> Selection | None:
    return _selections.decode(body) if body else None


def jobs(
    connection: Connection,
    *,
    source: str | None,
    status: str | None,
    settled: bool | None,
    limit: int,
    after: str | None,
) -> JobPage:
    """See `reads.Reader.jobs`."""
    statement = _of_source(_overview, connection, source)
    if status is not None:
        statement = statement.where(job.c.status == status)
    if settled is not None:
        statement = statement.where(job.c.settled if settled else ~job.c.settled)
    if after is not None:
        last = select(job.c.created_at, job.c.key).where(job.c.id == after)
        place = connection.execute(last.limit(1)).one_or_none()
        if place is None:
            return JobPage([], has_more=False)
        statement = statement.where(tuple_(job.c.created_at, job.c.key) < tuple(place))
    found = connection.execute(statement.order_by(*_newest_first).limit(limit + 1))
    rows = [_row(one) for one in found]
    return JobPage(rows[:limit], has_more=len(rows) > limit)


def _of_source(
    statement: Select[Any], connection: Connection, name: str | None
) -> Select[Any]:
    if name is None:
        return statement
    source_id = connection.scalar(select(source.c.id).where(source.c.name == name))
    return statement.where(job.c.source_id == (source_id or 0))


def find(connection: Connection, job_id: str, name: str | None) -> list[FoundJob]:
    """See `reads.Reader.find`."""
    statement = _of_source(_overview.where(job.c.id == job_id), connection, name)
    found = connection.execute(statement.order_by(job.c.key))
    return [FoundJob(one.key, one.source, _row(one)) for one in found]


def snapshot(connection: Connection, name: str, job_id: str) -> Snapshot | None:
    """See `reads.Reader.snapshot`."""
    statement = _of_source(_overview.where(job.c.id == job_id), connection, name)
    found = connection.execute(statement).first()
    if found is None:
        return None
    state = _states.decode(found.state)
    return Snapshot(
        source=found.source,
        realm=found.realm,
        revision=found.revision,
        job=_views.decode(found.view),
        settled=state.settled,
        removed=state.removed,
        points=tuple(points(connection, found.key, after=0, limit=None)),
        checkpoints=tuple(checkpoints(connection, found.key)),
        selection=_selection(found.selection),
    )


def window(
    connection: Connection,
    *,
    finished_within: float,
    limit: int,
    now: float,
    source_ids: Sequence[int] | None,
) -> list[JobRow]:
    """See `reads.Reader.window`."""
    cutoff = now - finished_within
    failed = min(cutoff, now - FAILED_STAYS)
    lately = and_(
        job.c.ended_at >= int(failed),
        job.c.settled,
        or_(job.c.ended_at >= int(cutoff), job.c.status == JobStatus.FAILED.value),
    )
    found: dict[int, Row[Any]] = {}
    # One question per index: together they would be a scan of all jobs. And sorted by
    # an expression, or SQLite reads all jobs by age to spare itself the sorting.
    newest_first = ((job.c.created_at + 0).desc(), job.c.key.desc())
    for which in (~job.c.settled, lately):
        statement = _overview.where(which)
        if source_ids is not None:
            statement = statement.where(job.c.source_id.in_(source_ids))
        ordered = statement.order_by(*newest_first).limit(limit)
        found.update({row.key: row for row in connection.execute(ordered)})
    newest = sorted(found.values(), key=lambda row: (-row.created_at, -row.key))
    return [_row(row) for row in newest[:limit]]


def newest_chosen(
    connection: Connection,
    suffix: str | None,
    metadata: dict[str, str],
    name: str | None,
) -> JobRow | None:
    """See `reads.Reader.newest_chosen`."""
    chosen = _overview.where(job.c.settled, job.c.selection.is_not(None))
    statement = _of_source(chosen, connection, name).order_by(*_newest_first)
    place: tuple[int, int] | None = None
    while True:
        below = statement
        if place is not None:
            below = statement.where(tuple_(job.c.created_at, job.c.key) < place)
        found = connection.execute(below.limit(_CHUNK)).all()
        for one in found:
            row = _row(one)
            if _is_of_family(row.job, suffix, metadata) and _is_final(row):
                return row
        if len(found) < _CHUNK:
            return None
        place = (found[-1].created_at, found[-1].key)


def _is_of_family(one: Job, suffix: str | None, metadata: dict[str, str]) -> bool:
    has = one.metadata or {}
    return (suffix is None or one.suffix == suffix) and metadata.items() <= has.items()


def _is_final(row: JobRow) -> bool:
    return row.selection is not None and row.selection.data.get("decision") == "final"


def points(
    connection: Connection, key: int, *, after: int, limit: int | None
) -> list[MetricPoint]:
    """See `reads.Reader.points`."""
    statement = (
        select(point)
        .where(point.c.job_key == key, point.c.n > after)
        .order_by(point.c.n)
        .limit(limit)
    )
    return [
        MetricPoint(
            n=row.n,
            step=row.step,
            total_steps=row.total_steps,
            created_at=row.created_at,
            values=_metrics.decode(row.metrics),
        )
        for row in connection.execute(statement)
    ]


def checkpoints(connection: Connection, key: int) -> list[Checkpoint]:
    """See `reads.Reader.checkpoints`."""
    bodies = connection.execute(
        select(checkpoint.c.body).where(
            checkpoint.c.job_key == key, ~checkpoint.c.removed
        )
    ).scalars()
    listed = [_checkpoints.decode(body) for body in bodies]
    return sorted(listed, key=lambda one: (one.step or 0, one.created_at or 0, one.id))
