"""The shapes that series of single jobs come in: numbers, the status, names.

What several series of a job need is found once per answer: its label string above all.
Which numbers there are is in `gauges`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from tunewatch.model import JobStatus
from tunewatch.plugin import JobGlance
from tunewatch_plugins.prometheus.exposition import label_value, label_values

_STATES = {state.value: state for state in JobStatus}
_ENDS = frozenset(state.value for state in JobStatus if state.is_terminal)


class Part(NamedTuple):
    """Some jobs, and what is made of each once for all of its series."""

    jobs: Sequence[JobGlance]
    labels: Sequence[str]  #: of every series of a job, without the closing brace
    closed: Sequence[str]  #: the same as they stand before the value
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


def has_ended(status: str) -> bool:
    """Whether a word stands for an end, as `Job.state` tells but faster."""
    return status in _ENDS


def part_of(jobs: Sequence[JobGlance]) -> Part:
    """Return jobs with what their series share."""
    ids = label_values([job.id for job in jobs])
    labels = [
        f'{{source="{text(job.source)}",job_id="{job_id}"'
        for job, job_id in zip(jobs, ids, strict=True)
    ]
    return Part(
        jobs,
        labels,
        [f"{some}}} " for some in labels],
        [_STATES.get(job.status, JobStatus.UNKNOWN) for job in jobs],
    )


@lru_cache(maxsize=1024)
def text(value: str | None) -> str:
    """Return a label's value; what nobody said is empty.

    Of thousands of jobs nearly all say one of a few.
    """
    return label_value(value) if value else ""


def samples(name: str, rests: Sequence[str]) -> str:
    """Return a line for each, which begins with the name of the metric.

    As what stands between them the name costs half as much as in each.
    """
    between = f"\n{name}"
    return f"{name}{between.join(rests)}\n" if rests else ""


class JobGauge(NamedTuple):
    """One number per job, left out where there is none."""

    name: str
    help: str
    read: Callable[[JobGlance], float | None]

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        return samples(
            self.name,
            [
                f"{closed}{value!r}"
                for value, closed in zip(
                    map(self.read, part.jobs), part.closed, strict=True
                )
                if value is not None
            ],
        )


class JobCurve(NamedTuple):
    """A metric's value at the highest step that has it, left out where there is none.

    The first of its keys that the job has counts.
    """

    name: str
    help: str
    keys: tuple[str, ...]

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        key, *others = self.keys
        found = [job.latest.get(key) for job in part.jobs]
        for other in others:
            found = [
                job.latest.get(other) if value is None else value
                for job, value in zip(part.jobs, found, strict=True)
            ]
        return samples(
            self.name,
            [
                f"{closed}{value!r}"
                for value, closed in zip(found, part.closed, strict=True)
                if value is not None
            ],
        )


class StatusSeries:
    """0 or 1 for every known status and `unknown`, so that none ever vanishes."""

    name = "tunewatch_job_status"
    help = (
        "1 for the status a job has now and 0 for each other; unknown stands for a "
        "word this version has not heard of, API field status."
    )

    def __init__(self, *, sparse: bool) -> None:
        self._between = {state: self._texts(state, sparse) for state in JobStatus}

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        between = self._between
        return "".join(
            [
                labels.join(between[state])
                for state, labels in zip(part.states, part.labels, strict=True)
            ]
        )

    def _texts(self, state: JobStatus, sparse: bool) -> list[str]:
        """Return what stands before, between and behind the labels of a job."""
        shown: Iterable[JobStatus] = (state,) if sparse else JobStatus
        lines = "".join(
            f'{self.name}@,status="{each.value}"}} {int(each is state)}\n'
            for each in shown
        )
        return lines.split("@")


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
        return samples(self.name, [self._rest(job, labels) for job, labels in pairs])

    def _rest(self, job: JobGlance, labels: str) -> str:
        line = (
            f"{labels}"
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
        return line + "} 1"
