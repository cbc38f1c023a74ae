"""Rewards of reinforcement training: few steps, deeply nested numbers.

Pure, like `curves`. The nesting and the names are those of the documented event:
flat keys beside `scores`, `usage`, `errors`, `timing`, and graders in lists.
"""

from __future__ import annotations

import math
from typing import Any

from tunewatch.testing.curves import best_part
from tunewatch.testing.ids import bell, draws
from tunewatch.testing.script import Script

_GRADERS = (("answer_grader", "score_model"), ("format_check", "string_check"))
_JUDGE = "gpt-4o-2024-08-06"


class RewardCurve:
    """The metrics of one reinforcement job."""

    def __init__(self, seed: str, script: Script) -> None:
        self._seed = seed
        self._script = script
        self._low = 0.2 + 0.15 * draws(seed, "height")[0]

    def is_validated(self, step: int) -> bool:
        """Whether the step was evaluated on the validation file."""
        every = max(1, self._script.steps // 5)
        return self._script.validation and (
            step % every == 0 or step == self._script.steps
        )

    def is_fully_validated(self, step: int) -> bool:
        """Whether the step has full_valid_* values: every evaluation is full."""
        return self.is_validated(step)

    def rewards(self, step: int) -> tuple[float, float]:
        """Return the mean training and validation reward of a step."""
        draw = draws(self._seed, "reward", step)
        level, valid = self._level(step / self._script.steps)
        shake = 0.15 if self._script.curve == "noisy" else 0.03
        train = min(1.0, max(0.0, level + shake * bell(*draw[:3])))
        return train, min(1.0, max(0.0, valid + 0.002 * (draw[3] - 0.5)))

    def values(self, step: int) -> dict[str, Any]:
        """Return the data of a step's event, nested as the provider nests it."""
        train, valid = self.rewards(step)
        kinds = ("train", "valid") if self.is_validated(step) else ("train",)
        means = {"train": train, "valid": valid}
        tokens = 1200 + 1500 * step / self._script.steps + 200 * train
        data: dict[str, Any] = {
            "usage": self._usage(kinds, tokens),
            "errors": {"graders": [_errors(grader, kinds) for grader in _GRADERS]},
            "scores": {
                "graders": [
                    _named(
                        grader, {f"{kind}_reward_mean": means[kind] for kind in kinds}
                    )
                    for grader in _GRADERS
                ],
                **{f"{kind}_reward_mean": means[kind] for kind in kinds},
            },
            "timing": self._timing(step, kinds),
            "train_mean_reward": train,
            "reasoning_tokens_mean": tokens,
            "completion_tokens_mean": tokens + 46.0,
            "mean_unresponsive_rewards": 0.0,
            "model_graders_token_usage": {_JUDGE: _judge_tokens(kinds)},
        }
        if "valid" in kinds:
            data["full_valid_mean_reward"] = valid
            data["full_valid_mean_parse_error"] = 0.0
            data["valid_reasoning_tokens_mean"] = tokens * 0.6
        return data

    def _level(self, part: float) -> tuple[float, float]:
        low = self._low
        risen = low + 0.55 * (1 - math.exp(-3 * part))
        match self._script.curve:
            case "overfit":
                off = part - best_part(self._script.epochs)
                return low + 0.7 * part, 0.78 - 0.45 * off * off
            case "diverge":
                fall = 0.9 * max(0.0, part - 0.4)
                return max(0.02, risen - fall), max(0.02, risen - fall * 1.1)
            case "flat":
                return low, low
            case "converge" | "noisy":
                return risen, risen - 0.03

    def _usage(self, kinds: tuple[str, ...], tokens: float) -> dict[str, Any]:
        judge = {
            f"{kind}_{side}_tokens_{what}": value
            for kind in kinds
            for side, mean in (("prompt", 241.0), ("completion", 139.5))
            for what, value in (("mean", mean), ("count", mean * 500))
        }
        return {
            "graders": [{**_named(_GRADERS[0], {}), "model": _JUDGE, **judge}],
            "samples": {
                f"{kind}_reasoning_tokens_{what}": value
                for kind in kinds
                for what, value in (("mean", tokens), ("count", tokens * 500))
            },
        }

    def _timing(self, step: int, kinds: tuple[str, ...]) -> dict[str, Any]:
        draw = draws(self._seed, "timing", step)
        parts = {"sampling": 180 + 60 * draw[0], "training": 380 + 50 * draw[1]}
        if "valid" in kinds:
            parts["eval"] = 90 + 20 * draw[2]
        return {
            "step": {**parts, "full_iteration": sum(parts.values())},
            "graders": [
                _named(
                    grader, {f"{kind}_execution_latency_mean": 2.7 for kind in kinds}
                )
                for grader in _GRADERS
            ],
        }


def _named(grader: tuple[str, str], values: dict[str, Any]) -> dict[str, Any]:
    return {"name": grader[0], "type": grader[1], **values}


def _errors(grader: tuple[str, str], kinds: tuple[str, ...]) -> dict[str, Any]:
    return _named(
        grader,
        {
            f"{kind}_{what}_error_{how}": 0.0
            for kind in kinds
            for what in ("other", "sample_parse", "invalid_variable")
            for how in ("mean", "count")
        },
    )


def _judge_tokens(kinds: tuple[str, ...]) -> dict[str, int]:
    names = {"train": "train", "valid": "eval"}
    return {
        f"{names[kind]}_{what}_tokens": count
        for kind in kinds
        for what, count in (("cached", 0), ("prompt", 120741), ("completion", 69402))
    }
