"""The totals that the store keeps across restarts, as counters.

Every combination that is known is born at 0, so that an alert on the first failure of
a model sees the step from 0 to 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tunewatch.events import CATALOGUE, JobStatusChanged, ReceiverTried, status_type
from tunewatch.model import JobStatus
from tunewatch.plugin import (
    ERROR_CODES,
    METHODS,
    Count,
    counted_code,
    counted_method,
)
from tunewatch_plugins.prometheus.durations import PARTS
from tunewatch_plugins.prometheus.exemplars import Exemplars, Labels
from tunewatch_plugins.prometheus.exposition import (
    Family,
    exemplar_text,
    is_number,
    label_name,
    labels,
)
from tunewatch_plugins.prometheus.models import OTHER
from tunewatch_plugins.prometheus.tally import STATUSES, Kind, Tally

Totals = Mapping[str, Mapping[Labels, float]]
"""Totals under the names and labels that are shown, by name."""

_ENDS = tuple(state.value for state in JobStatus if state.is_terminal)
_EVENTS = (
    # The last one is made to try a receiver and never committed.
    *(k.TYPE for k in CATALOGUE if k not in {JobStatusChanged, ReceiverTried}),
    *(status_type(status) for status in STATUSES),
)

_BAD_LABELS = {"type": "event_type"}
"""Labels that would clash with those that people give to targets."""


class _Total(NamedTuple):
    help: str
    by_source: tuple[dict[str, str], ...] = ()  #: exist at 0 for each source
    by_kind: tuple[dict[str, str], ...] = ()  #: exist at 0 for each kind of job


_TOTALS = {
    "events": _Total(
        "Events committed since the store was made, by their type; a status that this "
        "version has not heard of is unknown.",
        by_source=tuple({"event_type": kind} for kind in _EVENTS),
    ),
    "jobs_discovered": _Total(
        "Jobs first seen since the store was made.", by_source=({},)
    ),
    "jobs_finished": _Total(
        "Jobs that ended since the store was made, API fields status, model, method "
        "and error.code.",
        by_kind=(
            *({"status": end, "error_code": ""} for end in _ENDS),
            *({"status": "failed", "error_code": code} for code in ERROR_CODES),
        ),
    ),
    "job_transitions": _Total(
        "Changes of a job's status since the store was made, API field status.",
        by_source=tuple({"to": status} for status in STATUSES),
    ),
    "trained_tokens": _Total(
        "Tokens that jobs trained on since the store was made, API field "
        "trained_tokens; providers bill them, but not of reinforcement jobs.",
        by_kind=({},),
    ),
    "unknown_values": _Total(
        "Words of the API that this version has not heard of, since the store was "
        "made, by API field: status, method.type, type of an event, or a metric's "
        "name, which counts once a job. They pass through in events as they are.",
        by_source=tuple(
            {"kind": kind} for kind in ("status", "method", "event_type", "metric")
        ),
    ),
}


def shown_totals(counts: Iterable[Count], tally: Tally) -> Totals:
    """Return totals as they are shown: two models shown as one are one series."""
    sums: defaultdict[str, defaultdict[Labels, float]] = defaultdict(
        lambda: defaultdict(float)
    )
    for count in counts:
        if is_number(count.value) and count.value >= 0:
            sums[count.name][_shown(count.labels, tally)] += count.value
    return sums


def counters(
    totals: Totals, sources: Sequence[str], kinds: Sequence[Kind], exemplars: Exemplars
) -> Iterable[tuple[Family, str]]:
    """Yield each total as a counter with its lines, what is known born at 0.

    The parts of histograms are not among them.
    """
    for name in sorted((totals.keys() | _TOTALS.keys()) - PARTS):
        full_name = f"tunewatch_{label_name(name)}"
        total = _TOTALS.get(name, _Total(f"Total of {label_name(name)}."))
        sums = {
            **dict.fromkeys(_births(name, total, sources, kinds), 0.0),
            **totals.get(name, {}),
        }
        lines = (
            f"{full_name}_total{labels(key)}}} {value!r}"
            f"{exemplar_text(exemplars.of(name, key)) if value else ''}\n"
            for key, value in sorted(sums.items())
        )
        yield Family(full_name, "counter", total.help), "".join(lines)


def _births(
    name: str, total: _Total, sources: Sequence[str], kinds: Sequence[Kind]
) -> Iterable[Labels]:
    for birth in total.by_source:
        for source in sources:
            yield _sorted({"source": source, **birth})
    # Before the first job there is nothing but `other` to be told of.
    first = [Kind(source, OTHER, METHODS[0]) for source in sources]
    for birth in total.by_kind:
        for kind in {*kinds, *(first if name == "jobs_finished" else ())}:
            yield _sorted({**kind._asdict(), **birth})


def _shown(said: Mapping[str, str], tally: Tally) -> Labels:
    return _sorted(
        {
            _BAD_LABELS.get(name, label_name(name)): _bounded(name, value, tally)
            for name, value in said.items()
        }
    )


def _bounded(name: str, value: str, tally: Tally) -> str:
    match name:
        case "base_model":
            return tally.base_model(value)
        case "status" | "to":
            return JobStatus(value).value
        case "method":
            return counted_method(value)
        case "error_code":
            return counted_code(value)
        case _:
            return value


def _sorted(said: Mapping[str, str]) -> Labels:
    return tuple(sorted(said.items()))
