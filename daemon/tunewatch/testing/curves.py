"""Losses and accuracies of supervised and preference (DPO) training, step by step.

Pure: a value depends on the seed, the script and the step. Knows nothing of time,
jobs or JSON. Figures follow recorded jobs: noise from step to step is large, full
validation comes at the ends of epochs only, and a loss can be exactly zero.
"""

from __future__ import annotations

import math

from tunewatch.testing.ids import bell, draws
from tunewatch.testing.script import Script

_FLOOR = 0.28
_LN2 = math.log(2)  # where the loss of a preference pair begins


def best_part(epochs: int) -> float:
    """Return the part of an over-fitting run at which it is at its best.

    An epoch's end, not the last one, and among the three that are kept.
    """
    if epochs == 1:
        return 0.6
    return (epochs - (2 if epochs > 3 else 1)) / epochs


class LossCurve:
    """The metrics of one job, whose method is `supervised` or `dpo`."""

    def __init__(self, seed: str, script: Script) -> None:
        self._seed = seed
        self._script = script
        self._ends = frozenset(script.epoch_ends)
        self._high = 1.4 + 1.8 * draws(seed, "height")[0]

    def is_validated(self, step: int) -> bool:
        """Whether the step has valid_* values."""
        if not self._script.validation:
            return False
        return step in self._ends or step % self._script.validate_every == 0

    def is_fully_validated(self, step: int) -> bool:
        """Whether the step has full_valid_* values."""
        return self._script.validation and step in self._ends

    def values(self, step: int) -> dict[str, float]:
        """Return the metrics of a step (from 1) under the names of the events."""
        draw = draws(self._seed, "loss", step)
        train, valid = self._level(step / self._script.steps)
        values = self._pair("train", self._shaken(train, bell(*draw[:3]), 0.12))
        if self.is_validated(step):
            loss = self._shaken(valid, bell(*draw[3:6]), 0.2)
            values |= self._pair("valid", loss)
        if self.is_fully_validated(step):
            # Over the whole file: hardly any noise is left.
            values |= self._pair("full_valid", valid * (1 + 0.0005 * (draw[6] - 0.5)))
        return values

    def _pair(self, prefix: str, loss: float) -> dict[str, float]:
        if self._script.method == "dpo":
            return {f"{prefix}_loss": loss * _LN2 / self._high}
        return {
            f"{prefix}_loss": loss,
            f"{prefix}_mean_token_accuracy": math.exp(-0.45 * loss),
        }

    def _shaken(self, level: float, noise: float, deviation: float) -> float:
        if self._script.curve == "noisy":
            return max(0.0, level + 0.6 * noise)
        loss = max(0.0, level * (1 + deviation * noise))
        # A model that has learnt its examples by heart reports exact zeros.
        return 0.0 if loss < 1e-3 else loss

    def _level(self, part: float) -> tuple[float, float]:
        """Return the training and validation loss without noise."""
        high, span = self._high, self._high - _FLOOR
        match self._script.curve:
            case "overfit":
                return high * math.exp(-8 * part), self._bowl(part)
            case "diverge":
                loss = _FLOOR + span * math.exp(-5 * min(part, 0.4))
                loss *= math.exp(6 * max(0.0, part - 0.4))
                return loss, loss * 1.1
            case "flat":
                return high, high * 1.02
            case "converge" | "noisy":
                train = _FLOOR + span * math.exp(-5 * part)
                return train, _FLOOR * 1.15 + span * math.exp(-4.2 * part)

    def _bowl(self, part: float) -> float:
        """Return a loss that falls to the best part and rises after it."""
        best, lowest = best_part(self._script.epochs), 0.9
        if part <= best:
            return lowest + (self._high - 0.4) * ((best - part) / best) ** 2
        return lowest + 0.7 * ((part - best) / (1 - best)) ** 2
