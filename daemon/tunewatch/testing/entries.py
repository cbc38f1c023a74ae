"""The event list of a scripted job: what is said, when, and in which words.

Timing follows recorded jobs: metrics come in bursts that share a second, what is said
of checkpoints and the model comes seconds after the terminal status, all at once, and
nothing is said of the final step's checkpoint. Knows no page and no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from tunewatch.testing import ids
from tunewatch.testing.azure_jobs import reported_steps
from tunewatch.testing.checkpoints import checkpoint_model, kept_steps
from tunewatch.testing.messages import ERRORS, message, step_message
from tunewatch.testing.scripted import ScriptedJob

_BURST = 4  # steps whose metrics are told together
_FULL_VALIDATION = 6.0  # seconds from the last step to its metrics
_Moment = tuple[float, str, int]


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """One item of the list; its bytes are made when asked for."""

    job: ScriptedJob
    at: float  #: simulated time from which it is listed
    kind: str
    step: int  #: of metrics and checkpoints, else the n-th of its kind

    @property
    def id(self) -> str:
        """The id, which depends on the job, the kind and the step only."""
        parts = self.job.seed, "entry", self.kind, self.step
        if self.job.dialect != "azure":
            return f"ftevent-{ids.token(*parts)}"
        if self.kind != "metrics":
            return f"ftevent-{ids.hexadecimal(*parts)}"
        stamp = ids.hexadecimal(*parts, length=14)
        return f"ftevent-00{stamp}0{stamp}0"  # one stamp, made twice

    def encoded(self) -> bytes:
        """Return the item as JSON."""
        return msgspec.json.encode(_item(self))


def planned(job: ScriptedJob) -> list[PlannedEntry]:
    """Return everything that will be said as far as is known, oldest first."""
    told = _azure(job) if job.dialect == "azure" else _openai(job)
    moments = [moment for moment in told if moment[0] < math.inf]
    moments.sort(key=lambda moment: moment[0])
    return [PlannedEntry(job, *moment) for moment in moments]


def _openai(job: ScriptedJob) -> Iterator[_Moment]:
    life, ended = job.life, job.life.ended
    yield job.start, "created", 0
    yield job.start, "validating", 0
    runs = [stretch.start for stretch in life.stretches]
    if len(life.phases) > 1 and life.phases[1].status == "queued":
        yield life.phases[1].at, "validated", 0
    if runs:
        yield runs[0], "started", 0
    yield from _steps(job)
    yield from _pauses(job)
    if ended is None:
        return
    if not job.has_succeeded(ended):
        yield from _sad_end(job, ended)
        return
    if job.script.moderation_checks:
        yield ended - 5, "moderation", 0
    for step in kept_steps(job, ended):
        if step != job.script.steps:
            yield ended + 2, "checkpoint", step
    yield ended + 2, "model", 0
    yield ended + 8, "completed", 0


def _azure(job: ScriptedJob) -> Iterator[_Moment]:
    life, ended = job.life, job.life.ended
    yield job.start, "created", 0
    yield job.start + 1, "validating", 0
    if life.stretches:
        begun = life.stretches[0].start
        yield begun - 2, "validated", 0
        if job.validation_file:
            yield begun - 1, "validated_too", 0
        for kind in ("started", "importing", "finetuning", "waiting"):
            yield begun, kind, 0
        yield life.moment(life.pace.setup / 2), "training", 0
        yield life.moment(life.pace.setup), "results", 0
    yield from _steps(job)
    yield from _pauses(job)
    if ended is None:
        return
    if not job.has_succeeded(ended):
        yield from _sad_end(job, ended)
        return
    yield ended, "succeeded", 0
    yield ended + 20, "evaluated", 0
    yield ended + 34, "postprocessing", 0
    yield ended + 36, "completed", 0
    by_hour = job.script.method == "reinforcement"
    yield ended + 36, "billed_hours" if by_hour else "billed", 0


def _sad_end(job: ScriptedJob, ended: float) -> Iterator[_Moment]:
    status = job.life.phases[-1].status
    is_blocked = job.script.outcome == "moderation" and status == "failed"
    if is_blocked and job.dialect == "openai":
        yield ended - 5, "moderation", 0
    yield ended + 1, status, 0


def _steps(job: ScriptedJob) -> Iterator[_Moment]:
    """Yield the metrics of each step that is ever told."""
    life, script = job.life, job.script
    is_azure = job.dialect == "azure"
    bursts = script.method != "reinforcement" and not is_azure
    ends = iter((*script.epoch_ends, script.steps))
    epoch_end = next(ends)
    for step in reported_steps(script) if is_azure else range(1, script.steps + 1):
        if step > epoch_end:
            epoch_end = next(ends)
        told = min(-(-step // _BURST) * _BURST, epoch_end) if bursts else step
        if step == script.steps:
            yield (
                life.moment(life.pace.work_of(step) + _FULL_VALIDATION),
                "metrics",
                step,
            )
        else:
            yield life.moment_of(told), "metrics", step


def _pauses(job: ScriptedJob) -> Iterator[_Moment]:
    before = ""
    for number, phase in enumerate(job.life.phases):
        if phase.status == "paused":
            yield phase.at, "paused", number
        if (before, phase.status) == ("paused", "queued"):
            yield phase.at, "resumed", number
        before = phase.status


def _item(entry: PlannedEntry) -> dict[str, Any]:
    job, kind = entry.job, entry.kind
    item: dict[str, Any] = {
        "object": "fine_tuning.job.event",
        "id": entry.id,
        "created_at": job.stamp(entry.at),
        "level": "error" if kind == "failed" else "info",
    }
    if kind == "metrics":
        return item | _metrics(job, entry.step) | {"type": "metrics"}
    if kind == "moderation":
        return item | _moderation(job) | {"type": "moderation_checks"}
    item["message"] = message(job.dialect, kind, _facts(job, entry))
    if job.dialect == "openai":
        item["data"] = None if kind == "started" else {}
    return item | {"type": "message"}


def _metrics(job: ScriptedJob, step: int) -> dict[str, Any]:
    values, steps = job.curve.values(step), job.script.steps
    text = {"message": step_message(job.dialect, values, step, steps)}
    if job.script.metrics_as_text:
        return text
    data = {"step": step, **values, **job.script.metrics}
    if job.dialect == "openai":
        data["total_steps"] = steps
    return text | {"data": data}


def _moderation(job: ScriptedJob) -> dict[str, Any]:
    blocked = job.script.outcome == "moderation"
    facts = {
        "model": job.model_name(),
        "verdict": "failed" if blocked else "passed",
    }
    categories = ("hate", "harassment/threatening", "self-harm", "illicit/violent")
    return {
        "message": message("openai", "moderation", facts),
        "data": {
            "blocked": blocked,
            "results": [
                {
                    "flagged": blocked and category == "hate",
                    "category": category,
                    "enforcement": "block" if blocked else "do_not_block",
                }
                for category in categories
            ],
            "finetuned_model_checkpoint_id": job.model_name(),
        },
    }


def _facts(job: ScriptedJob, entry: PlannedEntry) -> dict[str, Any]:
    at_step = entry.kind == "checkpoint"
    other = job.validation_file
    return {
        "id": job.id,
        "training_file": job.training_file,
        "and_validation_file": f" and validation file: {other}" if other else "",
        "result_file": job.result_file,
        "trained_tokens": job.trained_tokens,
        "hours": job.life.hours,
        "step": entry.step,
        "model": checkpoint_model(job, entry.step) if at_step else job.model_name(),
        "error": ERRORS.get(job.script.outcome, ""),
    }
