"""A job's state as it stands on its topic: small, whole, and with its sequence.

Made of what the daemon shows of a job among many, not of events: it is right whatever
the plugin is subscribed to. Receivers ignore a lower `sequence`, as with events.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tunewatch.events.wire import SCHEMA_VERSION
from tunewatch.model import JobStatus
from tunewatch.plugin import BestGlance, JobGlance

_encoder = msgspec.json.Encoder()


def encoded(job: JobGlance) -> bytes:
    """Return the state of a job; the same job always makes the same bytes."""
    return _encoder.encode(
        {
            "object": "job.state",
            "schema_version": SCHEMA_VERSION,
            "id": job.id,
            "source": job.source,
            "realm": job.realm,
            "status": job.status,
            "sequence": job.sequence,
            "model": job.model,
            "method": job.method,
            "suffix": job.suffix,
            "metadata": job.metadata,
            "fine_tuned_model": job.fine_tuned_model,
            "error_code": job.error_code,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
            "estimated_finish": job.estimated_finish,
            "step": job.step,
            "total_steps": job.total_steps,
            "progress": progress(job),
            "metrics": dict(sorted(job.latest.items())),
            "best": _best(job.best),
        }
    )


def progress(job: JobGlance) -> float | None:
    """Return how much of the training is done, in percent; None if nobody said."""
    if job.status == JobStatus.SUCCEEDED:
        return 100.0
    if job.step is None or not job.total_steps:
        return None
    return round(100 * min(job.step / job.total_steps, 1.0), 1)


def is_running(job: JobGlance) -> bool:
    """Whether the job has not ended: a status of tomorrow goes on."""
    return not JobStatus(job.status).is_terminal


def _best(best: BestGlance | None) -> dict[str, Any] | None:
    if best is None:
        return None
    return {
        "checkpoint_id": best.checkpoint_id,
        "model": best.checkpoint_model,
        "step": best.step,
        "metric": best.metric,
        "value": best.value,
        "decision": best.decision,
    }
