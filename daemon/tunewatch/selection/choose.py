"""The choice itself.

The best finite value wins; who is equally good is settled by age. Order of the inputs
is irrelevant. A failed job has no best checkpoint: what it failed for (a moderation
refusal, a broken file) may taint every model it saved, so a person has to look. A
cancelled one has, if something with a value was saved: ending a run early and taking
what is best so far is what people cancel for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from tunewatch.model import (
    Candidate,
    Checkpoint,
    Job,
    JobStatus,
    MetricPoint,
    finite,
)
from tunewatch.selection.candidates import Option, smoothed, valued
from tunewatch.selection.rules import SMOOTHED, Goal, Rules
from tunewatch.selection.wording import (
    NoChoiceReason,
    Verdict,
    why,
    why_none,
    why_unjudged,
)


class Choice(Struct, frozen=True, kw_only=True):
    """The best checkpoint and why it is the best."""

    checkpoint: Checkpoint
    metric: str  #: `smoothed_valid_loss` if the fallback decided
    goal: Goal
    value: float
    reason: str  #: in plain words
    candidates: tuple[Candidate, ...]  #: every checkpoint, earliest first
    margin: float | None  #: how much worse the final model is; None if not known


class NoChoice(Struct, frozen=True, kw_only=True):
    """There is no best checkpoint, and why not."""

    reason: NoChoiceReason
    detail: str  #: in plain words
    candidates: tuple[Candidate, ...] = ()


def select(
    job: Job,
    points: Iterable[MetricPoint],
    checkpoints: Iterable[Checkpoint],
    rules: Rules,
) -> Choice | NoChoice:
    """Return the best checkpoint of a job by what is known now."""
    points, checkpoints = tuple(points), tuple(checkpoints)
    metric = rules.metric(job.training_method)
    if metric is None:
        reason, detail = why_unjudged(job)
        return NoChoice(reason=reason, detail=detail)
    options = valued(checkpoints, points, metric)
    if job.state is JobStatus.FAILED:
        return _none(job, options, metric)
    if _has_value(options):
        goal = rules.goal(job.training_method)
        return _choice(job, options, metric=metric, goal=goal, rules=rules)
    # While a job goes on a full value may still come, and a smoothed one would change
    # with every step: the fallback decides for ended jobs only.
    if rules.smoothed and job.state.is_terminal:
        by_batches = smoothed(checkpoints, points, rules.window)
        if _has_value(by_batches):
            return _choice(
                job, by_batches, metric=SMOOTHED, goal="minimize", rules=rules
            )
    return _none(job, options, metric)


def _has_value(options: Iterable[Option]) -> bool:
    return any(option.value is not None for option in options)


def _choice(
    job: Job, options: Sequence[Option], *, metric: str, goal: Goal, rules: Rules
) -> Choice:
    ranked = _ranked(options, goal)
    top = ranked[0][1]
    equal = [pair for pair in ranked if abs(pair[1] - top) <= rules.min_delta]
    pick = min if rules.tie == "earliest" else max
    best, value = pick(equal, key=lambda pair: _seniority(pair[0], rules))
    final, is_the_model = _final(job, options)
    margin = _worse_by(final.value, value, goal)
    verdict = Verdict(
        metric=metric,
        goal=goal,
        best=best,
        value=value,
        ranked=ranked,
        equal=len(equal),
        final=final,
        is_the_model=is_the_model,
        margin=margin,
        without=len(options) - len(ranked),
    )
    return Choice(
        checkpoint=best.checkpoint,
        metric=metric,
        goal=goal,
        value=value,
        reason=why(verdict, job, rules),
        candidates=tuple(option.candidate for option in options),
        margin=margin,
    )


def _ranked(options: Iterable[Option], goal: Goal) -> list[tuple[Option, float]]:
    """Return those with a value, best first, earliest first among equals."""
    sign = 1 if goal == "minimize" else -1
    have = [(o, o.value) for o in options if o.value is not None]
    return sorted(have, key=lambda pair: (sign * pair[1], pair[0].age))


def _seniority(option: Option, rules: Rules) -> tuple[bool, int, int, str]:
    unknown, step, made, name = option.age
    # A checkpoint of unknown step wins a tie neither way.
    return (unknown == (rules.tie == "earliest"), step, made, name)


def _final(job: Job, options: Sequence[Option]) -> tuple[Option, bool]:
    """Return what the job ends with, and whether that is known to be its model."""
    if job.fine_tuned_model:
        for option in options:
            if option.checkpoint.model == job.fine_tuned_model:
                return option, True
    stepped = [option for option in options if option.step is not None]
    return (stepped or list(options))[-1], False


def _worse_by(final: float | None, best: float, goal: Goal) -> float | None:
    if final is None:
        return None
    return finite(final - best if goal == "minimize" else best - final)


def _none(job: Job, options: Sequence[Option], metric: str) -> NoChoice:
    reason, detail = why_none(job, len(options), metric)
    return NoChoice(
        reason=reason,
        detail=detail,
        candidates=tuple(option.candidate for option in options),
    )
