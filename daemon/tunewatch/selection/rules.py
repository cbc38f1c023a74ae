"""What counts as better: the metric of each training method, its goal, ties.

Knows names of metrics and nothing of jobs, points or checkpoints.
"""

from __future__ import annotations

import math
import re
from typing import Literal, TypeAlias

from msgspec import Struct, field

Goal: TypeAlias = Literal["minimize", "maximize"]
Tie: TypeAlias = Literal["earliest", "latest"]

FULL_METRICS: dict[str, str] = {
    "supervised": "full_valid_loss",
    "dpo": "full_valid_loss",
    "reinforcement": "full_valid_mean_reward",
}
"""By training method, the metric over the whole validation set."""

BATCH_METRICS = frozenset(
    {
        "train_loss",
        "train_mean_token_accuracy",
        "train_mean_reward",
        "valid_loss",
        "valid_mean_token_accuracy",
    }
)
"""Measured on one batch: noise of three orders of magnitude, no reason to choose."""

SMOOTHED = "smoothed_valid_loss"
"""What a choice by the fallback says its metric was."""

SMOOTHED_FROM = "valid_loss"
"""The mini-batch metric that the fallback smooths."""

_WORD = re.compile(r"[a-z0-9]+")
_SMALLER_IS_BETTER = frozenset({"loss", "error", "errors", "perplexity"})
_LARGER_IS_BETTER = frozenset({"reward", "rewards", "accuracy", "score"})


class Rules(Struct, frozen=True, kw_only=True):
    """How the best checkpoint is found.

    Raises ValueError, saying what to do, if a metric is measured on one batch only, if
    neither the name of a metric nor `goals` says what is better, or if a number is out
    of range.
    """

    metrics: dict[str, str] = field(default_factory=lambda: dict(FULL_METRICS))
    """By training method. A method that is not here has no best checkpoint."""
    goals: dict[str, Goal] = field(default_factory=dict)
    """By training method; where absent, the metric's name says it (`goal_of`)."""
    min_delta: float = 0.0  #: values that differ by no more are equally good
    tie: Tie = "earliest"  #: which of the equally good ones is taken
    smoothed: bool = False
    """Judge an ended job without any full metric by its smoothed `valid_loss`."""
    window: int = 11  #: values that the smoothing takes the mean of, an odd number

    def __post_init__(self) -> None:
        """Refuse what could only choose by accident."""
        if not (math.isfinite(self.min_delta) and self.min_delta >= 0):
            raise ValueError("min_delta must be a finite number of at least 0")
        if self.window < 3 or self.window % 2 == 0:
            raise ValueError("window must be an odd number of at least 3")
        for method in self.goals:
            if method not in self.metrics:
                raise ValueError(
                    f"goal names the method {method!r}, which has no metric: "
                    "add it to metrics"
                )
        for method, metric in self.metrics.items():
            _check(method, metric, self.goals.get(method))

    def metric(self, method: str) -> str | None:
        """Return the metric that decides for a training method, None if none does."""
        return self.metrics.get(method)

    def goal(self, method: str) -> Goal:
        """Return what is better for a training method that has a metric."""
        said = self.goals.get(method) or goal_of(self.metrics[method])
        if said is None:  # __post_init__ refused it
            raise ValueError(f"no goal for the method {method!r}")
        return said


def goal_of(metric: str) -> Goal | None:
    """Return what is better by the words in a metric's name, None if they do not say.

    A loss or an error is minimised, a reward, a score or an accuracy maximised;
    `full_valid_mean_parse_error` is an error.
    """
    words = frozenset(_WORD.findall(metric.lower()))
    smaller = bool(words & _SMALLER_IS_BETTER)
    larger = bool(words & _LARGER_IS_BETTER)
    if smaller == larger:
        return None
    return "minimize" if smaller else "maximize"


def _check(method: str, metric: str, goal: Goal | None) -> None:
    if metric in BATCH_METRICS:
        raise ValueError(
            f"the metric of {method!r} is measured on one batch: use one over the "
            "whole validation set, such as 'full_valid_loss'"
        )
    if goal is None and goal_of(metric) is None:
        raise ValueError(
            f"the name of the metric of {method!r} does not say what is better: "
            f'set goal = {{ {method} = "minimize" }} or "maximize"'
        )
