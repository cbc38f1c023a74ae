"""The checkpoints of a scripted job: which are listed at a moment, and their objects.

Supervised and preference jobs save one at each epoch's end and keep the last three;
reinforcement jobs save one at each evaluation and at a pause, and keep the three with
the highest reward and the final one. Knows no list, no page.
"""

from __future__ import annotations

import math
from typing import Any

from tunewatch.testing import ids
from tunewatch.testing.rewards import RewardCurve
from tunewatch.testing.scripted import ScriptedJob

_KEPT = 3


def checkpoints(job: ScriptedJob, now: float) -> list[dict[str, Any]]:
    """Return the checkpoint objects that are listed at a moment, newest first."""
    return [checkpoint(job, step) for step in reversed(kept_steps(job, now))]


def kept_steps(job: ScriptedJob, now: float) -> list[int]:
    """Return the steps whose checkpoints are listed at a moment, rising."""
    there = [step for step in _saved_steps(job) if listed_from(job, step) <= now]
    if not isinstance(job.curve, RewardCurve):
        return there[-_KEPT:]
    curve, last = job.curve, job.script.steps
    best = sorted(there, key=lambda step: curve.rewards(step)[1])[-_KEPT:]
    return [step for step in there if step in best or step == last]


def listed_from(job: ScriptedJob, step: int) -> float:
    """Return the moment from which a step's checkpoint is listed, infinity if never."""
    saved = job.life.moment_of(step)
    ended = math.inf if job.life.ended is None else job.life.ended
    if step == job.script.steps and job.script.outcome != "moderation":
        # It bears the final model's name, which exists at the end and not before.
        return ended if job.has_succeeded(ended) else math.inf
    return saved if job.script.checkpoints_while_running else max(saved, ended)


def checkpoint(job: ScriptedJob, step: int) -> dict[str, Any]:
    """Return the checkpoint object of a step."""
    parts = job.seed, "checkpoint", step
    is_azure = job.dialect == "azure"
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": f"ftchkpt-{ids.hexadecimal(*parts)}"
        if is_azure
        else f"ftckpt_{ids.token(*parts)}",
        "created_at": job.stamp(job.life.moment_of(step)),
        "fine_tuned_model_checkpoint": checkpoint_model(job, step),
        "fine_tuning_job_id": job.id,
        "metrics": {"step": step, **_metrics(job, step)},
        "step_number": step,
    }


def checkpoint_model(job: ScriptedJob, step: int) -> str:
    """Return the name under which the model of a checkpoint can be called."""
    last = step == job.script.steps and job.script.outcome != "moderation"
    return job.model_name(None if last else step)


def _metrics(job: ScriptedJob, step: int) -> dict[str, Any]:
    values = job.curve.values(step)
    if isinstance(job.curve, RewardCurve):
        names: tuple[str, ...] = (
            "train_mean_reward",
            "full_valid_mean_reward",
            "completion_tokens_mean",
        )
        return {name: values[name] for name in names if name in values}
    full = job.script.full_valid_in_checkpoints or job.dialect == "azure"
    return {
        name: value
        for name, value in values.items()
        if full or not name.startswith("full_")
    }


def _saved_steps(job: ScriptedJob) -> list[int]:
    if not isinstance(job.curve, RewardCurve):
        return list(job.script.epoch_ends)
    every = range(1, job.script.steps + 1)
    steps = {step for step in every if job.curve.is_validated(step)}
    pace = job.life.pace
    for stretch in job.life.stretches[:-1]:  # each but the last ended in a pause
        done = stretch.done + stretch.end - stretch.start - pace.setup
        steps.add(int(done / pace.per_step))
    return sorted((steps | {job.script.steps}) - {0})
