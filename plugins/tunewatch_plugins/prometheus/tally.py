"""How many jobs of which kind are in which status, zeros included.

Kinds are few whatever users do: models and methods have bounded names here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tunewatch.model import JobStatus
from tunewatch.plugin import Count, JobRow
from tunewatch_plugins.prometheus.exposition import Family, encoded, labels
from tunewatch_plugins.prometheus.models import OTHER, ShownModels

STATUSES = tuple(state.value for state in JobStatus)

_METHODS = frozenset({"supervised", "dpo", "reinforcement"})


def shown_method(method: str) -> str:
    """Return a training method's name if it is a known one, else `other`."""
    return method if method in _METHODS else OTHER


class Kind(NamedTuple):
    """What jobs are told apart by where they are counted."""

    source: str
    base_model: str
    method: str


class Tally:
    """How many jobs of which kind are in which status, and which kinds there are.

    The kind `other` is always there: before the first job the series exist already.
    """

    def __init__(self, counts: Iterable[Count], models: ShownModels) -> None:
        self._models = models
        self._sums: Counter[tuple[Kind, str]] = Counter()
        self._kinds = {Kind("", OTHER, "supervised")}
        # In a steady order: which models are shown is then the same after a restart.
        for count in sorted(counts, key=_steady):
            said = count.labels
            if "base_model" in said and "method" in said:
                model = models.label(said["base_model"])
                method = shown_method(said["method"])
                self._kinds.add(Kind(said.get("source", ""), model, method))

    def add(self, rows: Iterable[JobRow]) -> None:
        """Count some jobs."""
        self._sums.update((self._kind(row), row.job.state.value) for row in rows)

    @property
    def kinds(self) -> list[Kind]:
        """Every kind that is known, sorted."""
        return sorted(self._kinds | {kind for kind, _ in self._sums})

    def family(self) -> Family:
        """Return the jobs by status, zeros included."""
        sums: Counter[tuple[str, str, str]] = Counter()
        for _, model, method in self.kinds:
            sums.update({(status, model, method): 0 for status in STATUSES})
        for (kind, status), value in self._sums.items():
            sums[status, kind.base_model, kind.method] += value
        names = ("status", "base_model", "method")
        lines = (
            f"tunewatch_jobs{labels(zip(names, key, strict=True))}}} {value}\n"
            for key, value in sorted(sums.items())
        )
        return Family(
            "tunewatch_jobs",
            "gauge",
            "Jobs that go on or ended within the window, by status, API fields "
            "status, model and method.",
            [encoded("".join(lines))],
        )

    def _kind(self, row: JobRow) -> Kind:
        model = self._models.label(row.job.model)
        return Kind(row.source, model, shown_method(row.job.training_method))


def _steady(count: Count) -> tuple[str, list[tuple[str, str]]]:
    return count.name, sorted(count.labels.items())
