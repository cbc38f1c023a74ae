"""The shapes that series of single jobs come in: numbers, the status, names.

What several series of a job need is found once per answer: its label string above all.
Which numbers there are is in `gauges`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tunewatch.model import JobStatus
from tunewatch.plugin import JobGlance
from tunewatch_plugins.prometheus.exposition import label_value

_STATES = {state.value: state for state in JobStatus}


class Part(NamedTuple):
    """Some jobs, and what is made of each once for all of its series."""

    jobs: Sequence[JobGlance]
    labels: Sequence[str]  #: of every series of a job, without the closing brace
    states: Sequence[JobStatus]


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


def state_of(status: str) -> JobStatus:
    """Return the status that a word stands for, as `Job.state` does but faster."""
    return _STATES.get(status, JobStatus.UNKNOWN)


def part_of(jobs: Sequence[JobGlance]) -> Part:
    """Return jobs with what their series share."""
    return Part(
        jobs,
        [
            f'{{source="{label_value(job.source)}",job_id="{label_value(job.id)}"'
            for job in jobs
        ],
        [state_of(job.status) for job in jobs],
    )


def text(value: str | None) -> str:
    """Return a label's value; what nobody said is empty."""
    return label_value(value) if value else ""


class JobGauge(NamedTuple):
    """One number per job, left out where there is none."""

    name: str
    help: str
    read: Callable[[JobGlance], float | None]

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        name, read = self.name, self.read
        return "".join(
            [
                f"{name}{labels}}} {value!r}\n"
                for job, labels in zip(part.jobs, part.labels, strict=True)
                if (value := read(job)) is not None
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
            [
                templates[state].replace("@", labels)
                for state, labels in zip(part.states, part.labels, strict=True)
            ]
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

    def __init__(
        self,
        base_model: Callable[[str | None], str],
        metadata_labels: Mapping[str, str],
    ) -> None:
        self._base_model = base_model
        self._metadata = list(metadata_labels.items())

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        pairs = zip(part.jobs, part.labels, strict=True)
        return "".join([self._line(job, labels) for job, labels in pairs])

    def _line(self, job: JobGlance, labels: str) -> str:
        line = (
            f"{self.name}{labels}"
            f',realm="{text(job.realm)}"'
            f',base_model="{text(self._base_model(job.model))}"'
            f',model="{text(job.model)}"'
            f',method="{text(job.method)}"'
            f',suffix="{text(job.suffix)}"'
            f',fine_tuned_model="{text(job.fine_tuned_model)}"'
            f',organization_id="{text(job.organization_id)}"'
            f',project_id="{text(job.project_id)}"'
        )
        if self._metadata:
            said: Mapping[str, str] = job.metadata or {}
            for key, label in self._metadata:
                line += f',{label}="{text(said.get(key))}"'
        return line + "} 1\n"
