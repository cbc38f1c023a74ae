"""The words for a choice, and for there being none.

Only words: what is chosen was decided before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from tunewatch.model import Job, JobStatus
from tunewatch.selection.candidates import Option
from tunewatch.selection.rules import SMOOTHED, SMOOTHED_FROM, Goal, Rules

NoChoiceReason: TypeAlias = Literal[
    "no_validation_file",
    "no_full_metric",
    "no_candidate",
    "job_failed",
    "job_cancelled",
]


class Verdict(NamedTuple):
    """What there is to say about a choice."""

    metric: str
    goal: Goal
    best: Option
    value: float
    ranked: Sequence[tuple[Option, float]]  #: best value first
    equal: int  #: how many were equally good
    final: Option
    is_the_model: bool  #: `final` is known to be the job's own model
    margin: float | None  #: how much worse `final` is
    without: int  #: candidates without a value


def why(verdict: Verdict, job: Job, rules: Rules) -> str:
    """Return why this checkpoint is the best one."""
    sentences = (
        _headline(verdict),
        _equals(verdict, rules),
        _next_best(verdict),
        _versus_final(verdict),
        _missing(verdict),
        _smoothing(verdict, job, rules),
        _cancelled(job),
    )
    return " ".join(sentence for sentence in sentences if sentence)


def why_none(job: Job, count: int, metric: str) -> tuple[NoChoiceReason, str]:
    """Return why none of `count` checkpoints is chosen."""
    if job.state is JobStatus.FAILED:
        return "job_failed", (
            f"The job failed: none of its {_checkpoints(count)} is chosen."
        )
    lacking = (
        f"of {_checkpoints(count)} none has it, nor has an event or a result file at "
        "a checkpoint's step"
        if count
        else "no checkpoint is listed"
    )
    wanted = f"wanted a checkpoint with {metric}; {lacking}."
    if job.state is JobStatus.CANCELLED:
        return "job_cancelled", f"The job was cancelled; {wanted}"
    if not job.validation_file and "valid" in metric:
        return "no_validation_file", (
            f"The job has no validation file, so there is no {metric} to choose by."
        )
    wanted = wanted[0].upper() + wanted[1:]
    return ("no_full_metric" if count else "no_candidate"), wanted


def why_unjudged(job: Job) -> tuple[NoChoiceReason, str]:
    """Return why a job of a method without a metric has no best checkpoint."""
    if job.state is JobStatus.FAILED:
        return why_none(job, 0, "")
    return "no_full_metric", (
        f"No metric is set for jobs of the method {job.training_method!r}: "
        "name one under metrics."
    )


def _headline(verdict: Verdict) -> str:
    metric, place = verdict.metric, _place(verdict.best)
    having = len(verdict.ranked)
    if having == 1:
        return f"{metric} is {verdict.value:.6g} at {place}, the only one with a value."
    if verdict.value != verdict.ranked[0][1]:
        return f"{metric} is {verdict.value:.6g} at {place}, of {having} with a value."
    word = "lowest" if verdict.goal == "minimize" else "highest"
    return (
        f"{metric} is {word} at {place}: {verdict.value:.6g}, of {having} with a value."
    )


def _equals(verdict: Verdict, rules: Rules) -> str:
    if verdict.equal == 1:
        return ""
    if not rules.min_delta:
        return f"{verdict.equal} are equal: the {rules.tie} is taken."
    top, value = verdict.ranked[0]
    return (
        f"{verdict.equal} are within {rules.min_delta:.6g} of the best value "
        f"({value:.6g} at {_place(top)}): the {rules.tie} is taken."
    )


def _next_best(verdict: Verdict) -> str:
    for option, value in verdict.ranked:
        if option is not verdict.best:
            return f"Next best: {value:.6g} at {_place(option)}."
    return ""


def _versus_final(verdict: Verdict) -> str:
    name = "final model" if verdict.is_the_model else "last checkpoint"
    if verdict.final is verdict.best:
        return f"It is the {name}."
    subject = f"The {name} ({_place(verdict.final)})"
    if verdict.margin is None:
        return f"{subject} has no value to compare."
    if verdict.margin == 0:
        return f"{subject} is as good."
    word = "worse" if verdict.margin > 0 else "better"
    return f"{subject} is {word} by {abs(verdict.margin):.6g}."


def _missing(verdict: Verdict) -> str:
    if not verdict.without:
        return ""
    verb = "has" if verdict.without == 1 else "have"
    return f"{_checkpoints(verdict.without)} {verb} no value."


def _smoothing(verdict: Verdict, job: Job, rules: Rules) -> str:
    if verdict.metric != SMOOTHED:
        return ""
    wanted = rules.metric(job.training_method)
    return (
        f"No checkpoint has {wanted}: each is judged by the mean of up to "
        f"{rules.window} mini-batch values of {SMOOTHED_FROM} around its step."
    )


def _cancelled(job: Job) -> str:
    if job.state is not JobStatus.CANCELLED:
        return ""
    return "The job was cancelled: this is the best of what it had saved."


def _place(option: Option) -> str:
    return option.checkpoint.id if option.step is None else f"step {option.step}"


def _checkpoints(count: int) -> str:
    return "1 checkpoint" if count == 1 else f"{count} checkpoints"
