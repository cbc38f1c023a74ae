"""Reading jobs: rows for lists, one job in full, the window of /metrics.

Plain functions over a connection; writes nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Select, func, select

from tunewatch.model import Checkpoint, MetricPoint, Selection, Snapshot
from tunewatch.plugin import JobRow
from tunewatch.store.kept import state_of, view_of
from tunewatch.store.schema import checkpoint, job, point, source

_selections = msgspec.json.Decoder(Selection)
_checkpoints = msgspec.json.Decoder(Checkpoint)
_metrics = msgspec.json.Decoder(dict[str, float])


_overview = select(
    job.c.key,
    source.c.name.label("source"),
    source.c.first_contact_at,
    job.c.realm,
    job.c.view,
    job.c.state,
    job.c.selection,
    job.c.revision,
    job.c.removed,
    job.c.sequence,
    job.c.created_at,
).join(source, source.c.id == job.c.source_id)


def rows_of_jobs() -> Select[Any]:
    """Return the question for everything that `job_row` needs."""
    return _overview


def jobs_of_id(
    connection: Connection, job_id: str, name: str | None = None
) -> Select[Any]:
    """Return the question for the jobs of that id, of all sources or of one.

    By realm and id, which is the index there is: by source it would read all its jobs.
    """
    statement = _overview.where(
        job.c.realm.in_(_realms(connection)), job.c.id == job_id
    )
    return statement if name is None else statement.where(source.c.name == name)


def keys_of_job(connection: Connection, job_id: str) -> list[int]:
    """Return the keys of the jobs of that id, by realm and id too."""
    found = select(job.c.key).where(
        job.c.realm.in_(_realms(connection)), job.c.id == job_id
    )
    return list(connection.execute(found).scalars())


def _realms(connection: Connection) -> list[str]:
    """Return every realm: they are few, and each is one step in an index."""
    realms: list[str] = []
    following = connection.scalar(select(func.min(job.c.realm)))
    while following is not None:
        realms.append(following)
        above = select(func.min(job.c.realm)).where(job.c.realm > following)
        following = connection.scalar(above)
    return realms


def job_row(found: Any) -> JobRow:
    """Return a job as an overview shows it."""
    state, said = state_of(found.state), view_of(found.view)
    is_history = state.silent or said.ended_before(found.first_contact_at)
    return JobRow(
        source=found.source,
        realm=found.realm,
        job=said,
        settled=state.settled,
        started_at=state.started_at,
        status_changed_at=state.status_changed_at,
        last_event_at=state.last_event_at,
        step=state.step,
        total_steps=state.total_steps,
        latest={key: latest.value for key, latest in state.latest.items()},
        selection=_selection(found.selection),
        revision=found.revision,
        is_counted=not is_history,
        sequence=found.sequence,
    )


def _selection(body: bytes | None) -> Selection | None:
    return _selections.decode(body) if body else None


def snapshot(connection: Connection, name: str, job_id: str) -> Snapshot | None:
    """See `reads.Reader.snapshot`."""
    found = connection.execute(jobs_of_id(connection, job_id, name)).first()
    if found is None:
        return None
    state = state_of(found.state)
    return Snapshot(
        source=found.source,
        realm=found.realm,
        revision=found.revision,
        job=view_of(found.view),
        settled=state.settled,
        removed=state.removed,
        points=tuple(points(connection, found.key, after=0, limit=None)),
        checkpoints=tuple(checkpoints(connection, found.key)),
        selection=_selection(found.selection),
    )


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
