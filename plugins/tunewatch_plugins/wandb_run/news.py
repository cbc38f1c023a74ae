"""What an event brings to the run of its job, and what the store knows of it.

Pure. Events that say nothing about a job bring nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from tunewatch.events import (
    CheckpointSelected,
    CheckpointUnselected,
    Event,
    JobRemoved,
    JobReopened,
    JobSettled,
    JobStatusChanged,
    MessageLogged,
    MetricsRecorded,
    iso,
)
from tunewatch.events.catalogue import PointObject
from tunewatch.model import JobStatus, MetricPoint, Snapshot, job_object
from tunewatch_plugins.wandb_run.facts import Row, chosen, columns, unchosen

Key = tuple[str, str]
"""The source's name and the job's id."""


class Line(Struct, frozen=True):
    """A line for the log of a run; `sequence` is the event's."""

    sequence: int
    text: str


class News(Struct, frozen=True, kw_only=True):
    """What is new about one job."""

    key: Key
    realm: str
    status: str | None  #: the job's, verbatim
    job: Mapping[str, Any] | None = None  #: the provider's object, if it is told
    rows: tuple[Row, ...] = ()
    line: Line | None = None
    best: Mapping[str, Any] | None = None  #: for the summary
    checkpoint: Mapping[str, Any] | None = None  #: the final choice, whole
    settled: bool | None = None  #: whether it is, if that changed
    reopens: bool = False  #: the job goes on, though it had ended
    concludes: bool = False  #: nothing need follow, if the job is settled
    ended: JobStatus | None = None  #: how it ended just now


def news_of(event: Event) -> News | None:
    """Return what an event brings, None if it is about no job."""
    if event.job_id is None:
        return None
    common, payload = event.common, event.payload
    rows: tuple[Row, ...] = ()
    line = best = checkpoint = settled = ended = None
    reopens = concludes = False
    match payload:
        case MetricsRecorded():
            rows = rows_of(payload.points)
        case MessageLogged():
            line = _line(event, payload)
        case CheckpointSelected():
            data = {
                "checkpoint": payload.checkpoint,
                "decision": payload.decision,
                "metric": payload.metric,
                "value": payload.value,
                "reason": payload.reason,
            }
            best = chosen(data)
            concludes = payload.decision == "final"
            checkpoint = payload.checkpoint if concludes else None
        case CheckpointUnselected():
            best = unchosen({"reason": payload.reason, "detail": payload.detail})
            concludes = True
        case JobSettled() | JobRemoved():
            settled = concludes = True
        case JobReopened():
            settled, reopens = False, True
        case JobStatusChanged():
            ended = JobStatus(common.status or "")
            ended = ended if ended.is_terminal else None
            before = JobStatus(payload.previous_status or "")
            reopens = ended is None and before.is_terminal
        case _:
            pass
    return News(
        key=(common.source, common.id),
        realm=common.realm,
        status=common.status,
        job=getattr(payload, "job", None),
        rows=rows,
        line=line,
        best=best,
        checkpoint=checkpoint,
        settled=settled,
        reopens=reopens,
        concludes=concludes,
        ended=ended,
    )


def rows_of(points: Iterable[PointObject | MetricPoint]) -> tuple[Row, ...]:
    """Return points as rows of a history, by ordinal."""
    rows = (
        Row(point.n, point.step, point.total_steps, columns(point.values))
        for point in points
    )
    return tuple(sorted(rows, key=lambda row: row.n))


def known(snapshot: Snapshot) -> News:
    """Return everything the store has of a job, as news for a run that lacks it."""
    best = checkpoint = None
    said = snapshot.selection
    if said is not None and said.type == CheckpointSelected.TYPE:
        best = chosen(said.data)
        if said.data.get("decision") == "final":
            checkpoint = said.data.get("checkpoint")
    elif said is not None:
        best = unchosen(said.data)
    return News(
        key=(snapshot.source, snapshot.job.id),
        realm=snapshot.realm,
        status=snapshot.job.status,
        job=job_object(snapshot.job),
        rows=rows_of(snapshot.points),
        best=best,
        checkpoint=checkpoint,
        settled=snapshot.settled,
        reopens=True,  # whatever it says is how things stand
        concludes=True,
    )


def _line(event: Event, message: MessageLogged) -> Line:
    text = " ".join(message.message.split())
    told = f"{iso(event.created_at)} {message.level} {text}"
    return Line(event.common.sequence, told)
