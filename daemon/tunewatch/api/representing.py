"""From what the store keeps to what is answered.

Pure: the same representation whoever asks, over HTTP or on the command line.
"""

from __future__ import annotations

from typing import Any, Literal

from tunewatch.api.answers import BestAnswer, JobAnswer
from tunewatch.events.catalogue import PointObject
from tunewatch.model import MetricPoint, Selection, job_object
from tunewatch.store.searching import FoundJob


def job_answer(found: FoundJob) -> JobAnswer:
    """Return a job as it is answered."""
    row = found.row
    return JobAnswer(
        id=row.job.id,
        source=row.source,
        realm=row.realm,
        status=row.job.status,
        settled=row.settled,
        removed=found.removed,
        revision=row.revision,
        sequence=found.sequence,
        started_at=row.started_at,
        status_changed_at=row.status_changed_at,
        last_event_at=row.last_event_at,
        step=row.step,
        total_steps=row.total_steps,
        latest=dict(row.latest),
        job=job_object(row.job),
        selection=row.selection,
    )


def point_object(point: MetricPoint) -> PointObject:
    """Return a point as it is answered: as in events."""
    return PointObject(
        n=point.n,
        step=point.step,
        total_steps=point.total_steps,
        created_at=point.created_at,
        values=point.values,
    )


def best_answer(job: JobAnswer) -> BestAnswer:
    """Return the best checkpoint of a job, or why there is none."""
    selection = job.selection
    data = selection.data if selection is not None else {}
    checkpoint = data.get("checkpoint")
    if not isinstance(checkpoint, dict):
        return _none(job, selection)
    model = checkpoint.get("fine_tuned_model_checkpoint")
    return BestAnswer(
        **_of(job),
        decision=_decision(data),
        model=model if isinstance(model, str) and model else None,
        checkpoint=checkpoint,
        metric=data.get("metric"),
        goal=data.get("goal"),
        value=data.get("value"),
        reason=str(data.get("reason") or ""),
        detail=None,
        event_id=selection.event_id if selection else None,
        decided_at=selection.created_at if selection else None,
    )


def _none(job: JobAnswer, selection: Selection | None) -> BestAnswer:
    data = selection.data if selection is not None else {}
    return BestAnswer(
        **_of(job),
        decision="none",
        model=None,
        checkpoint=None,
        metric=None,
        goal=None,
        value=None,
        reason=str(data.get("reason") or "not_chosen_yet"),
        detail=data.get("detail"),
        event_id=selection.event_id if selection else None,
        decided_at=selection.created_at if selection else None,
    )


def _decision(data: dict[str, Any]) -> Literal["final", "provisional"]:
    return "final" if data.get("decision") == "final" else "provisional"


def _of(job: JobAnswer) -> dict[str, Any]:
    return {
        "id": job.id,
        "source": job.source,
        "realm": job.realm,
        "status": job.status,
        "settled": job.settled,
    }
