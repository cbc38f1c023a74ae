"""What is kept of a job after a look: figures, latest values, times.

Pure. What is told is decided elsewhere; this is what a listener who knows everything
would remember.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from tunewatch.diff.state import JobState, Latest, Observation
from tunewatch.model import Job, JobStatus, MetricPoint


def remembered(
    before: JobState,
    seen: Observation,
    job: Job,
    points: Sequence[MetricPoint],
    *,
    counts: dict[str, int],
    is_history: bool,
) -> JobState:
    """Return the state after a look, the status aside.

    `points` are the new ones; in the first look at an older job (`is_history`) being
    seen running says nothing of when training began.
    """
    after = replace(
        before,
        silent=False,
        counts=counts,
        points=before.points + len(points),
        step=_highest([before.step, *(p.step for p in points)]),
        total_steps=_newest_total(before, points),
        latest=_latest(before.latest, points),
        started_at=_started(before, seen, job, points, is_history=is_history),
        last_event_at=_highest(
            [before.last_event_at, *(e.created_at or None for e in seen.entries)]
        ),
        trained_tokens=max(before.trained_tokens, job.trained_tokens or 0),
    )
    if not seen.file_open:
        after = replace(after, files=files_read(before, seen))
    if seen.gone:
        after = replace(after, removed=True, settled=True)
    return after


def files_read(state: JobState, seen: Observation) -> tuple[str, ...]:
    """Return the files whose points are in, that of this look included."""
    if seen.file_id is None or seen.file_id in state.files:
        return state.files
    return (*state.files, seen.file_id)


def told(state: JobState, seen: Observation, job: Job) -> JobState:
    """Return the state after the job's status was told."""
    ended = job.finished_at if job.state.is_terminal else None
    at = ended or int(seen.at)
    return replace(state, told_status=job.status, status_changed_at=at)


def _started(
    before: JobState,
    seen: Observation,
    job: Job,
    points: Sequence[MetricPoint],
    *,
    is_history: bool,
) -> int | None:
    """Return the earliest sign of training: first point, or seen running."""
    signs = [p.created_at for p in points if p.created_at is not None]
    if before.started_at is not None:
        signs.append(before.started_at)
    elif job.state is JobStatus.RUNNING and not is_history:
        signs.append(int(seen.at))
    return min(signs, default=None)


def _highest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _newest_total(before: JobState, points: Sequence[MetricPoint]) -> int | None:
    totals = [p.total_steps for p in points if p.total_steps]
    return totals[-1] if totals else before.total_steps


def _latest(
    before: dict[str, Latest], points: Sequence[MetricPoint]
) -> dict[str, Latest]:
    if not points:
        return before
    latest = dict(before)
    for point in points:
        for key, value in point.values.items():
            held = latest.get(key)
            if held is None or point.step >= held.step:
                latest[key] = Latest(point.step, value)
    return latest
