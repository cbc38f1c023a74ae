"""The value of each checkpoint: its own, else the one recorded at the same step.

Real OpenAI checkpoints carry no full validation metric, the event of the same step
does: hence the join. Missing, NaN and infinite are "no value", never 0. Knows nothing
of what is better.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import fsum
from typing import NamedTuple

from tunewatch.model import Candidate, Checkpoint, MetricPoint, finite
from tunewatch.selection.rules import SMOOTHED_FROM

_FEWEST = 3
"""A mean of fewer values would be the very noise that smoothing is to remove."""


class Option(NamedTuple):
    """A checkpoint with the value that it is judged by."""

    checkpoint: Checkpoint
    step: int | None
    value: float | None
    origin: str | None  #: checkpoint, event, result_file or smoothed

    @property
    def age(self) -> tuple[bool, int, int, str]:
        """Sort key, earliest first; a checkpoint of unknown step comes last."""
        made = self.checkpoint.created_at or 0
        return (self.step is None, self.step or 0, made, self.checkpoint.id)

    @property
    def candidate(self) -> Candidate:
        """The facts for whoever wants to check the choice."""
        return Candidate(
            checkpoint_id=self.checkpoint.id,
            step=self.step,
            model=self.checkpoint.model,
            value=self.value,
            origin=self.origin,
        )


def valued(
    checkpoints: Iterable[Checkpoint], points: Iterable[MetricPoint], metric: str
) -> list[Option]:
    """Return every checkpoint with its value of the metric, earliest first."""
    recorded = _by_step(points, metric)
    options = [_joined(checkpoint, recorded, metric) for checkpoint in checkpoints]
    return sorted(options, key=lambda option: option.age)


def smoothed(
    checkpoints: Iterable[Checkpoint], points: Iterable[MetricPoint], window: int
) -> list[Option]:
    """Return every checkpoint with its smoothed mini-batch loss, earliest first.

    The value is the mean of the `window` values of `valid_loss` centred on the
    checkpoint's step, fewer at the ends of the curve; the mean, because a loss over a
    whole set is the mean over its batches. There is none if fewer than three are
    near, or if the loss was not measured around that step.
    """
    measured = {step: v for step, (v, _) in _by_step(points, SMOOTHED_FROM).items()}
    steps = sorted(measured)
    options = []
    for checkpoint in checkpoints:
        step = _step(checkpoint)
        near = [measured[s] for s in _neighbours(steps, step, window // 2)]
        value = fsum(v / len(near) for v in near) if near else None
        origin = None if value is None else "smoothed"
        options.append(Option(checkpoint, step, value, origin))
    return sorted(options, key=lambda option: option.age)


def _joined(
    checkpoint: Checkpoint, recorded: dict[int, tuple[float, str]], metric: str
) -> Option:
    step = _step(checkpoint)
    own = finite(checkpoint.metrics.get(metric))
    if own is not None:
        return Option(checkpoint, step, own, "checkpoint")
    if step is None or step not in recorded:
        return Option(checkpoint, step, None, None)
    return Option(checkpoint, step, *recorded[step])


def _step(checkpoint: Checkpoint) -> int | None:
    if checkpoint.step is not None:
        return checkpoint.step
    # Some list the step among the metrics only.
    listed = finite(checkpoint.metrics.get("step"))
    return int(listed) if listed is not None and listed.is_integer() else None


def _by_step(
    points: Iterable[MetricPoint], metric: str
) -> dict[int, tuple[float, str]]:
    """Return value and origin per step; of several points the one committed last."""
    found: dict[int, tuple[tuple[int, int, float], str]] = {}
    for point in points:
        value = finite(point.values.get(metric))
        if value is None:
            continue
        from_file = point.created_at is None
        rank = (point.n, -1 if point.created_at is None else point.created_at, value)
        if point.step not in found or rank > found[point.step][0]:
            found[point.step] = (rank, "result_file" if from_file else "event")
    return {step: (rank[2], origin) for step, (rank, origin) in found.items()}


def _neighbours(steps: Sequence[int], step: int | None, half: int) -> Sequence[int]:
    """Return the measured steps around a step, or none if it is far from all."""
    if step is None or len(steps) < _FEWEST:
        return ()
    spacing = (steps[-1] - steps[0]) / (len(steps) - 1)
    at = bisect_left(steps, step)
    nearest = min(abs(s - step) for s in steps[max(0, at - 1) : at + 1])
    near = steps[max(0, at - half) : at + half + 1]
    return near if nearest <= spacing and len(near) >= _FEWEST else ()
