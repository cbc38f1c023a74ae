"""How long jobs took and waited, as histograms over all jobs that ended.

The store keeps how many fell into each bucket alone; Prometheus wants how many fell
below each bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tunewatch.model import JobStatus
from tunewatch.plugin import DURATION_BOUNDS
from tunewatch_plugins.prometheus.exemplars import Exemplars, Labels
from tunewatch_plugins.prometheus.exposition import (
    Exemplar,
    Family,
    exemplar_text,
    labels,
)
from tunewatch_plugins.prometheus.tally import Kind

INFINITE = "+Inf"

_ENDS = tuple(state.value for state in JobStatus if state.is_terminal)

HISTOGRAMS = {
    "job_duration_seconds": "Seconds from a job's creation to its end, of jobs that "
    "ended since the store was made, API fields created_at and finished_at.",
    "job_queue_seconds": "Seconds from a job's creation to the first sign of training, "
    "of jobs that ended since the store was made, API fields created_at, status and "
    "created_at of events.",
}
"""What each tells, by the name of its totals without suffix."""

PARTS = frozenset(f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "sum"))
"""The totals that they are made of."""


class _Series:
    """One series of a histogram: its buckets, each alone, and the sum."""

    def __init__(self) -> None:
        self.buckets: defaultdict[str, float] = defaultdict(float)
        self.sum = 0.0


def histograms(
    shown: Mapping[str, Mapping[Labels, float]],
    kinds: Sequence[Kind],
    exemplars: Exemplars,
) -> Iterable[tuple[Family, str]]:
    """Yield the histograms with their lines, every known kind born at 0.

    `shown` are the totals by name.
    """
    for name, told in HISTOGRAMS.items():
        series: defaultdict[Labels, _Series] = defaultdict(_Series)
        for born in _births(kinds):
            series[born] = _Series()
        for key, value in shown.get(f"{name}_bucket", {}).items():
            said = dict(key)
            bound = said.pop("le", INFINITE)
            series[tuple(sorted(said.items()))].buckets[bound] += value
        for key, value in shown.get(f"{name}_sum", {}).items():
            series[key].sum += value
        # Of most kinds there is nothing yet: many zeros, put together once.
        nothing = "".join(_lines(name, "@", _Series(), {}))
        lines: list[str] = []
        for key, one in sorted(series.items(), key=_by_key):
            who, last = labels(key), exemplars.of_buckets(name, key)
            if one.buckets:
                lines.extend(_lines(name, who, one, last))
            else:
                lines.append(nothing.replace("@", who))
        yield Family(f"tunewatch_{name}", "histogram", told), "".join(lines)


def _births(kinds: Iterable[Kind]) -> Iterable[Labels]:
    for kind in kinds:
        for status in _ENDS:
            yield tuple(sorted({"status": status, **kind._asdict()}.items()))


def _by_key(item: tuple[Labels, _Series]) -> Labels:
    return item[0]


def _lines(
    name: str, who: str, series: _Series, last: Mapping[str, Exemplar]
) -> Iterable[str]:
    below = 0.0
    for bound, shown in _bounds(series):
        inside = series.buckets.get(bound, 0.0)
        below += inside
        suffix = exemplar_text(last.get(bound)) if inside else ""
        yield f'tunewatch_{name}_bucket{who},le="{shown}"}} {below}{suffix}\n'
    yield f"tunewatch_{name}_sum{who}}} {series.sum}\n"
    yield f"tunewatch_{name}_count{who}}} {below}\n"


def _bounds(series: _Series) -> list[tuple[str, str]]:
    """Return each bound as it is kept and as it is shown, in their order.

    A store of another version may have counted by other bounds.
    """
    kept = {str(bound) for bound in DURATION_BOUNDS} | series.buckets.keys()
    finite = sorted((float(bound), bound) for bound in kept - {INFINITE})
    return [*((bound, str(at)) for at, bound in finite), (INFINITE, INFINITE)]
