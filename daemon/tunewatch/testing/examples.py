"""One event of every type, and a few odd ones, as a plugin may meet them.

For tests of plugins. Knows no plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tunewatch.events import (
    CheckpointCreated,
    CheckpointRemoved,
    CheckpointSelected,
    CheckpointUnselected,
    Common,
    Event,
    JobDiscovered,
    JobRemoved,
    JobReopened,
    JobSettled,
    JobStatusChanged,
    JobUpdated,
    MessageLogged,
    MetricsRecorded,
    Payload,
    ReceiverTried,
    SourceDown,
    SourceUp,
    decode,
    encode,
    event_id,
    iso,
    status_type,
)
from tunewatch.events.catalogue import PointObject
from tunewatch.model import (
    Checkpoint,
    Job,
    MetricPoint,
    Snapshot,
    checkpoint_object,
    job_object,
)
from tunewatch.plugin import Delivery

BEGAN = 1_723_205_158
"""Unix seconds when the job of the examples was created."""
JOB = Job(
    id="ftjob-example",
    status="succeeded",
    created_at=BEGAN,
    finished_at=BEGAN + 1800,
    model="gpt-4o-mini-2024-07-18",
    fine_tuned_model="ft:gpt-4o-mini-2024-07-18:example::abc",
    method={"type": "supervised"},
    training_file="file-train",
    validation_file="file-valid",
    trained_tokens=379446,
    metadata={"team": "a"},
)
CHECKPOINTS = tuple(
    Checkpoint(
        id=f"ftckpt-{step}",
        step=step,
        created_at=BEGAN + step,
        model=f"ft:gpt-4o-mini-2024-07-18:example::abc:ckpt-step-{step}",
        metrics={"step": float(step), "full_valid_loss": value},
    )
    for step, value in ((100, 0.31), (200, 0.27), (300, 0.29))
)
POINTS = tuple(
    MetricPoint(
        n=n,
        step=n,
        total_steps=300,
        created_at=BEGAN + n,
        values={"train_loss": 1.0 / n, "train_mean_token_accuracy": 1 - 1.0 / n}
        | ({"full_valid_loss": 0.3 - n / 10_000} if n % 100 == 0 else {}),
    )
    for n in range(1, 301)
)
SNAPSHOT = Snapshot(
    source="research",
    realm="openai",
    revision=7,
    job=JOB,
    settled=True,
    removed=False,
    points=POINTS,
    checkpoints=CHECKPOINTS,
    selection=None,
)


def deliveries() -> list[Delivery]:
    """Return one first delivery of every type there is, in an order that happens."""
    job, chosen = job_object(JOB), checkpoint_object(CHECKPOINTS[1], JOB.id)
    ended: dict[str, Any] = {
        "job": job,
        "duration_seconds": 1800,
        "queue_seconds": 60,
    }
    told: list[tuple[str, Payload]] = [
        (JobDiscovered.TYPE, JobDiscovered(job=job)),
        *(
            (status_type(word), JobStatusChanged(job=job, previous_status=before))
            for before, word in (
                (None, "validating_files"),
                ("validating_files", "queued"),
                ("queued", "running"),
                ("running", "failed"),
                ("running", "cancelled"),
                ("running", "succeeded"),
            )
        ),
        (JobUpdated.TYPE, JobUpdated(job=job, changes={"seed": _change(1, 2)})),
        (MessageLogged.TYPE, _message("Fine-tuning job started")),
        (MetricsRecorded.TYPE, MetricsRecorded(points=_points(3))),
        (CheckpointCreated.TYPE, CheckpointCreated(checkpoint=chosen)),
        (CheckpointSelected.TYPE, _selected(chosen)),
        (CheckpointRemoved.TYPE, CheckpointRemoved(checkpoint=chosen)),
        (CheckpointUnselected.TYPE, _unselected()),
        (JobSettled.TYPE, JobSettled(**ended)),
        (JobReopened.TYPE, JobReopened(**ended)),
        (JobRemoved.TYPE, JobRemoved(**ended)),
        (SourceDown.TYPE, SourceDown(reason="refused", since=iso(BEGAN))),
        (SourceUp.TYPE, SourceUp(reason="refused", since=iso(BEGAN))),
        (ReceiverTried.TYPE, ReceiverTried(message="a test")),
    ]
    return [_delivery(kind, payload, n) for n, (kind, payload) in enumerate(told)]


def odd_deliveries() -> list[Delivery]:
    """Return events of a later version: unknown types, unknown fields, odd statuses."""
    job = job_object(JOB)
    dreaming = JobStatusChanged(job=job, previous_status="running")
    known = _delivery(JobDiscovered.TYPE, JobDiscovered(job=job), 100)
    return [
        _delivery(status_type("dreaming"), dreaming, 101),
        _altered(known, {"type": "tunewatch.job.transferred", "id": "evt_later"}),
        _altered(known, {"id": "evt_more"}, {"novelty": {"deep": [1, None, "é"]}}),
    ]


def big_delivery() -> Delivery:
    """Return an event near the limit: 500 points in more than 100 KiB."""
    return _delivery(
        MetricsRecorded.TYPE, MetricsRecorded(points=_points(500, width=12)), 200
    )


def delivery_of(event: Event) -> Delivery:
    """Return the first delivery of an event."""
    return Delivery(event=event, body=encode(event))


def _points(count: int, width: int = 2) -> tuple[PointObject, ...]:
    return tuple(
        PointObject(
            n=n,
            step=n,
            total_steps=count,
            created_at=BEGAN + n,
            values={f"metric_{m}": n / (m + 3) for m in range(width)},
        )
        for n in range(1, count + 1)
    )


def _delivery(kind: str, payload: Payload, number: int) -> Delivery:
    is_of_source = isinstance(payload, SourceDown | SourceUp | ReceiverTried)
    owner = "research" if is_of_source else JOB.id
    event = Event(
        id=event_id("openai", owner, kind, (number,)),
        type=kind,
        created_at=BEGAN + number,
        common=Common(
            id=owner,
            source="research",
            realm="openai",
            status=None if is_of_source else JOB.status,
            sequence=(BEGAN + number) * 1000,
            observed_at=iso(BEGAN + number),
        ),
        payload=payload,
    )
    return delivery_of(event)


def _altered(
    delivery: Delivery, fields: Mapping[str, Any], data: Mapping[str, Any] | None = None
) -> Delivery:
    body = msgspec.json.decode(delivery.body)
    body.update(fields)
    body["data"].update(data or {})
    raw = msgspec.json.encode(body)
    return Delivery(event=decode(raw), body=raw)


def _change(before: object, after: object) -> dict[str, object]:
    return {"before": before, "after": after}


def _message(message: str) -> MessageLogged:
    return MessageLogged(
        level="info", message=message, event_id="ftevent-1", event_type="message"
    )


def _selected(checkpoint: dict[str, Any]) -> CheckpointSelected:
    return CheckpointSelected(
        checkpoint=checkpoint,
        decision="final",
        metric="full_valid_loss",
        goal="minimize",
        value=0.27,
        reason="the lowest full_valid_loss of 3 checkpoints",
        candidates=(),
        previous=None,
    )


def _unselected() -> CheckpointUnselected:
    return CheckpointUnselected(reason="checkpoint_removed", detail="it is gone")
