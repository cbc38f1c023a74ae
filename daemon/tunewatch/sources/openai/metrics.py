"""Metric values under one name each: flat, finite, canonical.

Nested reinforcement values get dotted names, graders their own; what is no finite
number has no value. Two values never end under one name: the second gets a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tunewatch.model import MetricPoint, finite
from tunewatch.sources.openai.lenient import whole

_CANONICAL = {
    "train_accuracy": "train_mean_token_accuracy",
    "validation_mean_token_accuracy": "valid_mean_token_accuracy",
    "train_reward_mean": "train_mean_reward",
    "valid_reward_mean": "valid_mean_reward",
}
"""Other words for one quantity: result files, Azure's and the guides' spellings."""

_ALSO = {
    "scores.train_reward_mean": "train_mean_reward",
    "scores.valid_reward_mean": "valid_mean_reward",
}
"""Nested names whose quantity has a flat name too."""

_NOT_METRICS = frozenset({"step", "total_steps"})
_DEEPEST = 32  # levels; more is no metric of anything
_LARGEST_STEP = 2**53


def point_of(data: object, *, created_at: int | None) -> MetricPoint | None:
    """Return the point of an event's data, None without a step to tie it to."""
    if not isinstance(data, Mapping):
        return None
    step = step_of(data.get("step"))
    if step is None:
        return None
    return MetricPoint(
        step=step,
        total_steps=step_of(data.get("total_steps")),
        created_at=created_at,
        values=values_of(data),
    )


def step_of(value: object) -> int | None:
    """Return a step: a whole number from 0, None for anything else."""
    step = whole(value)
    return step if step is not None and 0 <= step <= _LARGEST_STEP else None


def values_of(data: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite values of an object under canonical dotted names."""
    said = [(key, value) for key, value in data.items() if key not in _NOT_METRICS]
    # Flat names first: what the API itself calls so is not to lose its name.
    said.sort(key=lambda pair: isinstance(pair[1], dict | list))
    values = gathered(_leaves(said))
    for nested, flat in _ALSO.items():
        if nested in values:
            values.setdefault(flat, values[nested])
    return values


def gathered(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return named values under canonical names, no value in another's place.

    A canonical name that is said wins over another word for it. A second and different
    value of one name goes under `name#2`.
    """
    pairs = sorted(pairs, key=lambda pair: pair[0] in _CANONICAL)
    values: dict[str, float] = {}
    for said, value in pairs:
        name = canonical = _CANONICAL.get(said, said)
        n = 1
        while name in values and values[name] != value:
            n += 1
            name = f"{canonical}#{n}"
        values[name] = value
    return values


def _leaves(
    said: Iterable[tuple[str, Any]], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, float]]:
    """Yield the finite numbers below, each under its dotted path."""
    for key, value in said:
        path = f"{prefix}{key}"
        if isinstance(value, dict | list):
            if depth < _DEEPEST:
                parts = value.items() if isinstance(value, dict) else _named(value)
                yield from _leaves(parts, f"{path}.", depth + 1)
        elif path and (number := finite(value)) is not None:
            yield path, number


def _named(items: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the items of a list by their names, those without by their place."""
    taken: set[str] = set()
    for place, item in enumerate(items):
        said = item.get("name") if isinstance(item, dict) else None
        name = plain = said if isinstance(said, str) and said else str(place)
        n = 1
        while name in taken:
            n += 1
            name = f"{plain}#{n}"
        taken.add(name)
        yield name, item
