"""Which totals grow by what is told: names and labels as /metrics shows them.

Labels are bounded here, since a total once born is shown for ever.
"""

from __future__ import annotations

from collections import Counter

from tunewatch.counting import counted_code, counted_method, root_model
from tunewatch.diff import Delta, JobState
from tunewatch.events import Happening, JobDiscovered, JobStatusChanged, status_type
from tunewatch.model import Job
from tunewatch.store.counters import Tally
from tunewatch.store.unheard import unheard


def count(
    tally: Tally, delta: Delta, job: Job, *, before: JobState, since: float
) -> None:
    """Count what one observation tells of a job.

    A job that ended before `since` (unix seconds, first contact with its source) is
    history: counted as an end it would alarm somebody about last year.
    """
    told = Counter(_event_type(happening, job) for happening in delta.happenings)
    for kind, times in told.items():
        tally.add("events", {"type": kind}, times)
    if JobDiscovered.TYPE in told:
        tally.add("jobs_discovered", {}, told[JobDiscovered.TYPE])
    is_news = not job.ended_before(since)
    if is_news and any(
        isinstance(h.payload, JobStatusChanged) for h in delta.happenings
    ):
        tally.add("job_transitions", {"to": job.state.value})
        if job.state.is_terminal:
            _ended(tally, job, delta.after)
    tokens = delta.after.trained_tokens - before.trained_tokens
    if is_news and tokens > 0:
        tally.add("trained_tokens", _kind(tally, job), tokens)
    for kind in unheard(delta, job, before):
        tally.add("unknown_values", {"kind": kind})


def _event_type(happening: Happening, job: Job) -> str:
    if isinstance(happening.payload, JobStatusChanged):
        return status_type(job.state.value)
    return happening.type


def _ended(tally: Tally, job: Job, state: JobState) -> None:
    ended = {"status": job.state.value, **_kind(tally, job)}
    code = job.error.code if job.error is not None else None
    tally.add("jobs_finished", {**ended, "error_code": counted_code(code)})
    if (took := _between(job.created_at, job.finished_at)) is not None:
        tally.observe("job_duration_seconds", ended, took)
    if (waited := _between(job.created_at, state.started_at)) is not None:
        tally.observe("job_queue_seconds", ended, waited)


def _kind(tally: Tally, job: Job) -> dict[str, str]:
    return {
        "base_model": tally.model(root_model(job.model) or ""),
        "method": counted_method(job.training_method),
    }


def _between(start: int | None, end: int | None) -> int | None:
    """Return the seconds between, None where somebody did not say or clocks differ."""
    if start is None or end is None or end < start:
        return None
    return end - start
