"""Which job each total counted last, to be shown beside it in OpenMetrics.

An aggregate has no label for jobs, an exemplar has. They are found among the jobs of
the window, so nothing has to be kept: after an hour nobody asks which job it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeVar

from tunewatch.model import JobStatus
from tunewatch.plugin import JobGlance, counted_bucket, counted_code
from tunewatch_plugins.prometheus.exposition import Exemplar
from tunewatch_plugins.prometheus.tally import Kind

Labels = tuple[tuple[str, str], ...]
KeyT = TypeVar("KeyT")


class Exemplars:
    """The newest job of each total's series."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, Labels], Exemplar] = {}
        self._buckets: defaultdict[tuple[str, Labels], dict[str, Exemplar]]
        self._buckets = defaultdict(dict)

    def note(self, job: JobGlance, state: JobStatus, kind: Kind) -> None:
        """Note a job that ended, if the totals count it."""
        at = job.finished_at or job.status_changed_at
        if not job.is_counted or at is None:
            return
        ended = {"status": state.value, **kind._asdict()}
        finished = {**ended, "error_code": counted_code(job.error_code)}
        _put(self._newest, ("jobs_finished", _sorted(finished)), Exemplar(at, job.id))
        for name, end in (
            ("job_duration_seconds", job.finished_at),
            ("job_queue_seconds", job.started_at),
        ):
            if job.created_at is not None and end is not None and end >= job.created_at:
                took = end - job.created_at
                buckets = self._buckets[name, _sorted(ended)]
                _put(buckets, counted_bucket(took), Exemplar(at, job.id, took))

    def of(self, name: str, labels: Labels) -> Exemplar | None:
        """Return the newest job of a counter's series."""
        return self._newest.get((name, labels))

    def of_buckets(self, name: str, labels: Labels) -> Mapping[str, Exemplar]:
        """Return the newest job of each bucket of a histogram's series, by bound."""
        return self._buckets.get((name, labels), {})


def _put(newest: dict[KeyT, Exemplar], key: KeyT, exemplar: Exemplar) -> None:
    if exemplar > newest.get(key, exemplar._replace(at=-1)):
        newest[key] = exemplar


def _sorted(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
