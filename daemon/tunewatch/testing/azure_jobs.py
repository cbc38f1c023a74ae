"""How Azure shows a scripted job: other statuses, fewer fields, sparse steps.

Pure: takes what OpenAI would show and what the script says. Follows recorded objects
and events; knows no request and no list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunewatch.testing.lives import Phase
from tunewatch.testing.script import Script

REPORTED_EVERY = 10
"""Steps between those that Azure tells of."""

LONG_AFTER = 30 * 86_400
"""Seconds by which an estimated finish is too late; it stays after the end."""

FILE_LAG = 45.0
"""Seconds from a step until its row stands in the result file: the last rows come
after the job's end."""

_STATUS = {"validating_files": "pending", "queued": "pending"}
_OPENAI_ONLY = ("organization_id", "usage_metrics", "shared_with_openai")
_ABSENT_IF_EMPTY = ("error", "metadata", "integrations")


def azure_status(phases: Sequence[Phase], now: float) -> str:
    """Return the status at a moment: what waits is pending, or on its way back."""
    before = status = phases[0].status
    for phase in phases[1:]:
        if phase.at > now:
            break
        before, status = status, phase.status
    if (before, status) == ("paused", "queued"):
        return "resuming"
    return _STATUS.get(status, status)


def as_azure(job: dict[str, Any], *, status: str, estimate: int | None) -> None:
    """Turn OpenAI's object into Azure's, in place."""
    job["status"] = status
    job["estimated_finish"] = estimate
    job["suffix"] = job.pop("user_provided_suffix")
    job["training_type"] = "Standard"
    job["result_files"] = job["result_files"] or None
    for name in _OPENAI_ONLY:
        del job[name]
    for name in _ABSENT_IF_EMPTY:
        if not job[name]:
            del job[name]
    about = job["method"][job["method"]["type"]]
    for hyperparameters in (job["hyperparameters"], about["hyperparameters"]):
        for name, value in (hyperparameters or {}).items():
            if value == "auto":
                hyperparameters[name] = -1


def reported_steps(script: Script) -> list[int]:
    """Return the steps that are told of, rising; rare ones (of rewards) all are."""
    steps = range(1, script.steps + 1)
    if script.method == "reinforcement":
        return [*steps]
    always = {1, script.steps, *script.epoch_ends}
    return [step for step in steps if step % REPORTED_EVERY == 0 or step in always]
