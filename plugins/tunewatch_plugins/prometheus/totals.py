"""The totals that the store keeps across restarts, as counters.

Every combination that is known is born at 0, so that an alert on the first failure of
a model sees the step from 0 to 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tunewatch.model import JobStatus
from tunewatch.plugin import Count
from tunewatch_plugins.prometheus.exposition import (
    Family,
    encoded,
    is_number,
    label_name,
    labels,
)
from tunewatch_plugins.prometheus.models import ShownModels
from tunewatch_plugins.prometheus.tally import STATUSES, Kind, shown_method

Labels = tuple[tuple[str, str], ...]

ERROR_CODES = (
    "invalid_training_file",
    "invalid_validation_file",
    "invalid_n_examples",
    "exceeded_quota",
    "insufficient_quota",
    "server_error",
    "other",
)
"""Why jobs fail, as labels; any other code is `other`. A closed list, so that the first
failure for any reason is an increase of a series that was there at 0."""

_ENDS = tuple(state.value for state in JobStatus if state.is_terminal)
_CODES = frozenset({*ERROR_CODES, ""})

_BAD_LABELS = {"type": "event_type"}
"""Labels that would clash with those that people give to targets."""


class _Total(NamedTuple):
    help: str
    labels: tuple[str, ...] = ("source",)
    births: tuple[dict[str, str], ...] = ({},)
    """The combinations, for each kind of job, that exist at 0 from the start."""


_TOTALS = {
    "events": _Total("Events committed since the store was made.", births=()),
    "jobs_discovered": _Total("Jobs first seen since the store was made."),
    "jobs_finished": _Total(
        "Jobs that ended since the store was made, API fields status, model, method "
        "and error.code.",
        ("source", "status", "base_model", "method", "error_code"),
        (
            *({"status": end, "error_code": ""} for end in _ENDS),
            *({"status": "failed", "error_code": code} for code in ERROR_CODES),
        ),
    ),
    "job_transitions": _Total(
        "Changes of a job's status since the store was made, API field status.",
        ("source", "to"),
        tuple({"to": status} for status in STATUSES),
    ),
}


def stored_totals(
    counts: Sequence[Count], kinds: Sequence[Kind], models: ShownModels
) -> list[Family]:
    """Return the totals that the store keeps, each one a counter."""
    by_name: dict[str, list[Count]] = {name: [] for name in _TOTALS}
    for count in counts:
        by_name.setdefault(count.name, []).append(count)
    return [_counter(name, by_name[name], kinds, models) for name in sorted(by_name)]


def _counter(
    name: str, counts: Sequence[Count], kinds: Sequence[Kind], models: ShownModels
) -> Family:
    full_name = f"tunewatch_{label_name(name)}"
    sums: defaultdict[Labels, float] = defaultdict(float)
    for count in counts:
        if is_number(count.value) and count.value >= 0:
            # Two models that are shown as one are one series.
            sums[_shown(count.labels, models)] += count.value
    total = _TOTALS.get(name, _Total(f"Total of {label_name(name)}.", births=()))
    for birth in _births(total, kinds):
        sums.setdefault(birth, 0)
    lines = (
        f"{full_name}_total{labels(key)}}} {value!r}\n"
        for key, value in sorted(sums.items())
    )
    return Family(full_name, "counter", total.help, [encoded("".join(lines))])


def _shown(said: Mapping[str, str], models: ShownModels) -> Labels:
    return tuple(
        sorted(
            (_BAD_LABELS.get(name, label_name(name)), _bounded(name, value, models))
            for name, value in said.items()
        )
    )


def _bounded(name: str, value: str, models: ShownModels) -> str:
    match name:
        case "base_model":
            return models.label(value)
        case "status" | "to":
            return JobStatus(value).value
        case "method":
            return shown_method(value)
        case "error_code":
            return value if value in _CODES else "other"
        case _:
            return value


def _births(total: _Total, kinds: Iterable[Kind]) -> Iterable[Labels]:
    for kind in kinds:
        for birth in total.births:
            values = {**kind._asdict(), **birth}
            yield tuple((label, values[label]) for label in sorted(total.labels))
