"""Which totals grow by what is told: names and labels as /metrics shows them.

Labels are bounded here, since a total once born is shown for ever.
"""

from __future__ import annotations

import re

from tunewatch.diff import Delta
from tunewatch.events import JobDiscovered, JobStatusChanged
from tunewatch.model import Job
from tunewatch.store.counters import Growth

_CODE = re.compile(r"[a-z0-9_.-]{1,64}")


def count(growth: Growth, delta: Delta, job: Job, *, since: float) -> None:
    """Count what one observation tells of a job.

    A job that ended before `since` (unix seconds, first contact with its source) is
    history: as a finished job it would alarm somebody about last year.
    """
    for happening in delta.happenings:
        growth.add("events", {"type": happening.type})
        payload = happening.payload
        if isinstance(payload, JobDiscovered):
            growth.add("jobs_discovered", {})
        elif isinstance(payload, JobStatusChanged):
            growth.add("job_transitions", {"to": job.status})
            if job.state.is_terminal and (job.finished_at or since) >= since:
                growth.add("jobs_finished", _finished(job))


def _finished(job: Job) -> dict[str, str]:
    code = job.error.code if job.error is not None else None
    return {
        "status": job.status,
        "base_model": root_model(job.model),
        "method": _bounded(job.training_method),
        "error_code": _bounded(code),
    }


def root_model(model: str | None) -> str:
    """Return the model that training began with, through any fine-tuned ones."""
    if not model:
        return ""
    parts = model.split(":")
    return parts[1] if parts[0] == "ft" and len(parts) > 1 else model


def _bounded(word: str | None) -> str:
    if not word:
        return ""
    return word if _CODE.fullmatch(word) else "other"
