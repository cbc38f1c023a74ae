"""Jobs for tests of the W&B plugin: what is told of them, and what the store has.

Every telling changes the snapshot that the plugin is lent, as a commit does, and
returns the delivery that follows from it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from support.wandb_server import KEY
from tunewatch.events import (
    CheckpointSelected,
    CheckpointUnselected,
    Common,
    Event,
    JobDiscovered,
    JobReopened,
    JobSettled,
    JobStatusChanged,
    JobUpdated,
    MessageLogged,
    MetricsRecorded,
    Payload,
    event_id,
    iso,
    status_type,
)
from tunewatch.events.catalogue import PointObject
from tunewatch.model import Job, JobError, MetricPoint, Selection, Snapshot, job_object
from tunewatch.plugin import Context, Delivery, Sink
from tunewatch.testing.examples import delivery_of
from tunewatch.testing.lent import LentJobs, lent
from tunewatch_plugins.wandb_run import PLUGIN

BEGAN = 1_723_205_158
REALM = "openai:https://api.openai.com"


class Story:
    """One job of a source, as it goes on."""

    def __init__(
        self,
        jobs: LentJobs,
        job_id: str = "ftjob-one",
        *,
        source: str = "research",
        **fields: Any,
    ) -> None:
        given = {
            "model": "gpt-4o-mini-2024-07-18",
            "method": {
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": "auto"}},
            },
            "training_file": "file-train",
            "validation_file": "file-valid",
            "created_at": BEGAN,
            "seed": 7,
            "suffix": "support-bot",
            "metadata": {"team": "a"},
        }
        self.job = Job(id=job_id, status="queued", **{**given, **fields})
        self.source = source
        self.points: tuple[MetricPoint, ...] = ()
        self.settled = False
        self.selection: Selection | None = None
        self._jobs = jobs
        self._sequence = 0

    def found(self) -> Delivery:
        return self._told(JobDiscovered.TYPE, JobDiscovered(job=job_object(self.job)))

    def status(self, word: str, **changes: Any) -> Delivery:
        before = self.job.status
        self.job = msgspec.structs.replace(self.job, status=word, **changes)
        payload = JobStatusChanged(job=job_object(self.job), previous_status=before)
        return self._told(status_type(word), payload)

    def failed(self, message: str) -> Delivery:
        error = JobError(code="invalid_data", message=message)
        return self.status("failed", error=error)

    def updated(self, **changes: Any) -> Delivery:
        self.job = msgspec.structs.replace(self.job, **changes)
        payload = JobUpdated(job=job_object(self.job), changes={})
        return self._told(JobUpdated.TYPE, payload)

    def trained(self, *steps: int, **values: float) -> Delivery:
        """Tell of points at these steps, by default with a loss that falls."""
        new = []
        for n, step in enumerate(steps, len(self.points) + 1):
            told = values or {"train_loss": 1 / step}
            new.append(MetricPoint(step=step, values=told, total_steps=100, n=n))
        self.points += tuple(new)
        return self.repeated(*(point.n for point in new))

    def repeated(self, *ordinals: int) -> Delivery:
        """Tell of points that there are already."""
        told = tuple(
            PointObject(
                n=p.n,
                step=p.step,
                total_steps=p.total_steps,
                created_at=None,
                values=p.values,
            )
            for p in self.points
            if p.n in ordinals
        )
        return self._told(MetricsRecorded.TYPE, MetricsRecorded(points=told))

    def said(self, message: str) -> Delivery:
        payload = MessageLogged(
            level="info",
            message=message,
            event_id=f"ftevent-{self._sequence}",
            event_type="message",
        )
        return self._told(MessageLogged.TYPE, payload)

    def selected(self, step: int, value: float, decision: str = "final") -> Delivery:
        name = f"ft:gpt-4o-mini-2024-07-18:acme:{self.job.suffix}:abc:ckpt-step-{step}"
        payload = CheckpointSelected(
            checkpoint={
                "id": f"ftckpt-{step}",
                "step_number": step,
                "fine_tuned_model_checkpoint": name,
                "metrics": {"full_valid_loss": value},
            },
            decision=decision,  # type: ignore[arg-type]
            metric="full_valid_loss",
            goal="minimize",
            value=value,
            reason=f"full_valid_loss is lowest at step {step}",
            candidates=(),
            previous=None,
        )
        return self._concluded(CheckpointSelected.TYPE, payload)

    def unselected(self, reason: str, detail: str) -> Delivery:
        payload = CheckpointUnselected(reason=reason, detail=detail)  # type: ignore[arg-type]
        return self._concluded(CheckpointUnselected.TYPE, payload)

    def settles(self) -> Delivery:
        self.settled = True
        payload = JobSettled(
            job=job_object(self.job), duration_seconds=60, queue_seconds=1
        )
        return self._told(JobSettled.TYPE, payload)

    def reopens(self) -> Delivery:
        self.settled = False
        payload = JobReopened(
            job=job_object(self.job), duration_seconds=60, queue_seconds=1
        )
        return self._told(JobReopened.TYPE, payload)

    def _concluded(self, kind: str, payload: Payload) -> Delivery:
        self.selection = Selection(
            type=kind,
            event_id="evt_x",
            created_at=BEGAN,
            data=msgspec.to_builtins(payload),
        )
        return self._told(kind, payload)

    def _told(self, kind: str, payload: Payload) -> Delivery:
        self._sequence += 1
        self._jobs.put(
            Snapshot(
                source=self.source,
                realm=REALM,
                revision=self._sequence,
                job=self.job,
                settled=self.settled,
                removed=False,
                points=self.points,
                checkpoints=(),
                selection=self.selection,
            )
        )
        event = Event(
            id=event_id(REALM, self.job.id, kind, (self._sequence,)),
            type=kind,
            created_at=BEGAN + self._sequence,
            common=Common(
                id=self.job.id,
                source=self.source,
                realm=REALM,
                status=self.job.status,
                sequence=(BEGAN + self._sequence) * 1000,
                observed_at=iso(BEGAN),
            ),
            payload=payload,
        )
        return delivery_of(event)


@asynccontextmanager
async def account(
    jobs: LentJobs, directory: Path, url: str | None = None, **settings: Any
) -> AsyncIterator[Sink]:
    """Open the plugin; online if there is a server, else offline."""
    given: Mapping[str, Any] = {"mode": "offline"}
    if url is not None:
        given = {"url": url, "api_key": KEY, "entity": "acme"}
    table = {**given, "init_timeout": "2s", "finish_timeout": "2s", **settings}
    context: Context = lent("wandb", directory, jobs=jobs)
    async with PLUGIN.open(PLUGIN.settings.model_validate(table), context) as opened:
        assert hasattr(opened, "deliver")
        yield opened
