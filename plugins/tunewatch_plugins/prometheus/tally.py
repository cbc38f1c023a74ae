"""How many jobs of which kind are in which status, zeros included.

Kinds are few whatever users do: models and methods have bounded names here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tunewatch.model import JobStatus
from tunewatch.plugin import METHODS, Count, JobGlance, JobKind, counted_method
from tunewatch_plugins.prometheus.exposition import Family, labels
from tunewatch_plugins.prometheus.jobs import Part, state_of
from tunewatch_plugins.prometheus.models import OTHER, ShownModels

STATUSES = tuple(state.value for state in JobStatus)


class Kind(NamedTuple):
    """What jobs are told apart by where they are counted."""

    source: str
    base_model: str
    method: str


class Tally:
    """How many jobs of which kind are in which status, and which kinds there are."""

    def __init__(self, counts: Iterable[Count], models: ShownModels) -> None:
        self._models = models
        self._labels: dict[str | None, str] = {}
        self._found: dict[tuple[str, str | None, str], Kind] = {}
        self._sums: Counter[tuple[Kind, JobStatus]] = Counter()
        self._kinds: set[Kind] = set()
        # In a steady order: which models are shown is then the same after a restart.
        for count in sorted(counts, key=_steady):
            said = count.labels
            if "base_model" in said and "method" in said:
                self._kinds.add(
                    self._kind(said["source"], said["base_model"], said["method"])
                )

    def base_model(self, model: str | None) -> str:
        """Return the label of a model's name, found once per answer."""
        label = self._labels.get(model)
        if label is None:
            label = self._labels[model] = self._models.label(model)
        return label

    def add(self, part: Part) -> None:
        """Count some jobs."""
        self._sums.update(zip(map(self.kind_of, part.jobs), part.states, strict=True))

    def add_hidden(self, hidden: Mapping[JobKind, int]) -> None:
        """Count jobs that have no series of their own."""
        for kind, number in hidden.items():
            shown = self._kind(kind.source, kind.model, kind.method)
            self._sums[shown, state_of(kind.status)] += number

    def kind_of(self, job: JobGlance) -> Kind:
        """Return what a job is counted as."""
        return self._kind(job.source, job.model, job.method)

    @property
    def kinds(self) -> list[Kind]:
        """Every kind that is known, sorted."""
        return sorted(self._kinds | {kind for kind, _ in self._sums})

    def family(self) -> tuple[Family, str]:
        """Return the jobs by status and their lines, zeros included."""
        sums: Counter[tuple[str, str, str]] = Counter()
        for _, model, method in self.kinds or [Kind("", OTHER, METHODS[0])]:
            sums.update({(status, model, method): 0 for status in STATUSES})
        for (kind, state), value in self._sums.items():
            sums[state.value, kind.base_model, kind.method] += value
        names = ("status", "base_model", "method")
        lines = (
            f"tunewatch_jobs{labels(zip(names, key, strict=True))}}} {value}\n"
            for key, value in sorted(sums.items())
        )
        family = Family(
            "tunewatch_jobs",
            "gauge",
            "Jobs that go on or ended within the window, by status, API fields "
            "status, model and method.",
        )
        return family, "".join(lines)

    def _kind(self, source: str, model: str | None, method: str) -> Kind:
        said = (source, model, method)
        kind = self._found.get(said)
        if kind is None:
            kind = Kind(source, self.base_model(model), counted_method(method))
            self._found[said] = kind
        return kind


def _steady(count: Count) -> tuple[str, list[tuple[str, str]]]:
    return count.name, sorted(count.labels.items())
