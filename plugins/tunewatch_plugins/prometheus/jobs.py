"""The shapes that series of single jobs come in: numbers, the status, names.

One label string per job is made per answer and shared by all of its series. Which
numbers there are is in `gauges`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tunewatch.model import JobStatus
from tunewatch.plugin import JobRow
from tunewatch_plugins.prometheus.exposition import (
    LARGEST,
    label_name,
    label_value,
    labels,
)
from tunewatch_plugins.prometheus.models import ShownModels

Part = Sequence[tuple[str, JobRow]]
"""Jobs with their label strings, which lack the closing brace."""


class JobSeries(Protocol):
    """A family that has series for each job."""

    @property
    def name(self) -> str:
        """The metric's name."""
        ...

    @property
    def help(self) -> str:
        """Unit and origin, ending with a full stop."""
        ...

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        ...


def job_labels(row: JobRow) -> str:
    """Return the labels that every series of a job has, without the closing brace."""
    return labels((("source", row.source), ("job_id", row.job.id)))


def more_labels(names: Mapping[str, Any]) -> str:
    """Return further labels of a job's series; what is no text is empty."""
    return "".join(
        [
            f',{name}="{label_value(value) if isinstance(value, str) else ""}"'
            for name, value in names.items()
        ]
    )


class JobGauge(NamedTuple):
    """One number per job, left out where there is none."""

    name: str
    help: str
    read: Callable[[JobRow], float | None]

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        name, read = self.name, self.read
        # `is_number`, written out: calls are most of what thousands of jobs cost.
        return "".join(
            [
                f"{name}{labels}}} {value!r}\n"
                for labels, row in part
                if (value := read(row)) is not None and -LARGEST <= value <= LARGEST
            ]
        )


class StatusSeries:
    """0 or 1 for every known status and `unknown`, so that none ever vanishes."""

    name = "tunewatch_job_status"
    help = (
        "1 for the status a job has now and 0 for each other; unknown stands for a "
        "word this version has not heard of, API field status."
    )

    def __init__(self, *, sparse: bool) -> None:
        self._templates = {state: self._template(state, sparse) for state in JobStatus}

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        templates = self._templates
        return "".join(
            [templates[row.job.state].replace("@", labels) for labels, row in part]
        )

    def _template(self, state: JobStatus, sparse: bool) -> str:
        shown: Iterable[JobStatus] = (state,) if sparse else JobStatus
        return "".join(
            f'{self.name}@,status="{each.value}"}} {int(each is state)}\n'
            for each in shown
        )


class InfoSeries:
    """Names of a job, to be joined by `source` and `job_id`; always 1."""

    name = "tunewatch_job_info"
    help = (
        "Names of a job, always 1; base_model is the root model, model the one the job "
        "began with, API fields of the same names."
    )

    def __init__(self, models: ShownModels, metadata_labels: Sequence[str]) -> None:
        self._models = models
        self._metadata = [
            (key, label_name("metadata_" + key)) for key in metadata_labels
        ]

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        return "".join(
            [f"{self.name}{labels}{self._names(row)}}} 1\n" for labels, row in part]
        )

    def _names(self, row: JobRow) -> str:
        job = row.job
        said: Mapping[str, Any] = job.metadata or {}
        names = {
            "realm": row.realm,
            "base_model": self._models.label(job.model),
            "model": job.model,
            "method": job.training_method,
            "suffix": job.suffix,
            "fine_tuned_model": job.fine_tuned_model,
            "organization_id": job.organization_id,
            "project_id": job.extra.get("project_id"),
            **{label: said.get(key) for key, label in self._metadata},
        }
        return more_labels(names)
