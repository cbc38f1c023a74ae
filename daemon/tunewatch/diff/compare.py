"""One look at one job against what is kept of it: what changed, in the order told.

Pure: no I/O, no clock, no randomness. The order within a look is discovered, updated,
messages and points, checkpoints, status, settled.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tunewatch.diff import checkpoints, entries
from tunewatch.diff.changes import TRAVELLING_FIELDS, changes
from tunewatch.diff.remembering import files_read, remembered, told
from tunewatch.diff.state import NEW, Delta, JobState, Known, Observation
from tunewatch.events import (
    Happening,
    JobDiscovered,
    JobRemoved,
    JobReopened,
    JobSettled,
    JobStatusChanged,
    JobUpdated,
    Payload,
    status_type,
)
from tunewatch.events.identity import digest
from tunewatch.model import Job, MetricPoint, job_object

BACKFILLED_AFTER = 600.0
"""s: the first look at a job older than this tells history, not news."""


def diff(
    before: JobState,
    job_before: Job | None,
    job: Job | None,
    seen: Observation,
    known: Known,
) -> Delta:
    """Return what an observation changes.

    `job` is the kept item with the observation's laid over it, `job_before` the kept
    item alone, both decoded by the running code; None if there is none.
    """
    if job is None:
        return Delta(happenings=(), after=before, keep_raw=False)
    if seen.silent:
        return _recorded_silently(before, job)
    if before.silent and job_before is not None:
        if job.status == job_before.status and not changes(job_before, job):
            return Delta(happenings=(), after=before, keep_raw=False)
        before, job_before = NEW, None
    # Until a first look is complete, what is kept is only what a list page showed.
    unconfirmed = (
        job_before is not None
        and before.told_status is not None
        and job_before.state.is_terminal
        and not job.state.is_terminal
        and not seen.confirmed
    )
    if unconfirmed and job_before is not None:
        job = job_before
    return _Look(before, job_before, job, seen, known, unconfirmed=unconfirmed).delta()


def _recorded_silently(before: JobState, job: Job) -> Delta:
    if before != NEW:  # somebody told of it already: nothing to hush up
        return Delta(happenings=(), after=before, keep_raw=False)
    after = replace(
        before,
        silent=True,
        settled=True,
        told_status=job.status,
        status_changed_at=job.finished_at or job.created_at,
    )
    return Delta(happenings=(), after=after)


class _Look:
    """The working state of one comparison."""

    def __init__(
        self,
        before: JobState,
        job_before: Job | None,
        job: Job,
        seen: Observation,
        known: Known,
        *,
        unconfirmed: bool,
    ) -> None:
        self.before = before
        self.job_before = job_before
        self.job = job
        self.seen = seen
        self.known = known
        self.unconfirmed = unconfirmed
        self.counts = dict(before.counts)
        self.told: list[Happening] = []
        self.is_first = before.told_status is None

    def delta(self) -> Delta:
        self._discovered()
        self._updated()
        fresh, points = self._entries()
        listed = checkpoints.compare(self.known, self.seen, self.job.id, self.counts)
        self.told.extend(listed.happenings)
        status_changed = self._status()
        self._removed()
        is_news = bool(self.told) or bool(listed.stored)
        after = remembered(
            self.before,
            self.seen,
            self.job,
            points,
            counts=self.counts,
            is_history=self._is_backfilled(),
        )
        if status_changed:
            after = told(after, self.seen, self.job)
        if self._reopens():
            self.told.insert(0, self._once(JobReopened.TYPE, self._ended(JobReopened)))
            after = replace(after, settled=False, removed=False, counts=self.counts)
        elif self._settles(is_news=is_news):
            self.told.append(self._once(JobSettled.TYPE, self._ended(JobSettled)))
            read = files_read(after, self.seen)
            after = replace(after, settled=True, counts=self.counts, files=read)
        return Delta(
            happenings=tuple(self.told),
            after=after,
            entries=fresh,
            points=points,
            checkpoints=listed.stored,
            removed_checkpoints=listed.removed,
            absent=listed.absent,
            unconfirmed=self.unconfirmed,
            keep_raw=self._keeps_raw(),
            backfilled=self._is_backfilled(),
            changed=is_news,
        )

    def _keeps_raw(self) -> bool:
        if self.unconfirmed or self.seen.raw is None:
            return False
        # The parts of a look that was cut change the state only in the last one; the
        # first part of a first look has to put something into the new row.
        return not self.seen.partial or self.job_before is None

    def _is_backfilled(self) -> bool:
        created_at = self.job.created_at
        return (
            self.is_first
            and created_at is not None
            and created_at + BACKFILLED_AFTER < self.seen.at
        )

    def _once(
        self, event_type: str, payload: Payload, what: Any = None, at: int | None = None
    ) -> Happening:
        """Name an event by being the n-th of its type, and by what it says."""
        n = self.counts.get(event_type, 0) + 1
        self.counts[event_type] = n
        return Happening(
            type=event_type, key=(n, digest(what)), payload=payload, created_at=at
        )

    def _discovered(self) -> None:
        if self.counts.get(JobDiscovered.TYPE) or self.seen.gone:
            return
        payload = JobDiscovered(job=job_object(self.job))
        at = self.job.created_at
        self.told.append(self._once(JobDiscovered.TYPE, payload, at=at))

    def _updated(self) -> None:
        if self.is_first or self.seen.partial or self.job_before is None:
            return
        if self.job.status != self.before.told_status:
            return  # what changed travels with the status
        changed = changes(self.job_before, self.job)
        if changed:
            payload = JobUpdated(job=job_object(self.job), changes=changed)
            self.told.append(self._once(JobUpdated.TYPE, payload, changed))

    def _entries(self) -> tuple[tuple[str, ...], tuple[MetricPoint, ...]]:
        fresh = entries.in_order(
            entry for entry in self.seen.entries if entry.id not in self.known.entries
        )
        points: list[MetricPoint] = []
        for entry in fresh:
            if entry.point is not None:
                n = self.before.points + len(points) + 1
                at = entry.point.created_at or entry.created_at or None
                points.append(entries.numbered(entry.point, n, at))
        self.told.extend(entries.tell(fresh, points))
        points.extend(self._filled(points))
        return tuple(entry.id for entry in fresh), tuple(points)

    def _filled(self, fresh: list[MetricPoint]) -> list[MetricPoint]:
        """Return what a result file adds: only (step, key) pairs that nobody had."""
        seen = self.seen
        if seen.file_id is None or seen.file_id in self.before.files:
            return []
        have = {step: set(keys) for step, keys in self.known.filled.items()}
        for point in fresh:
            have.setdefault(point.step, set()).update(point.values)
        filled: list[MetricPoint] = []
        for point in seen.file_points:
            keys = have.setdefault(point.step, set())
            n = self.before.points + len(fresh) + len(filled) + 1
            full = entries.numbered(point, n, None)
            values = {k: v for k, v in full.values.items() if k not in keys}
            if values:
                keys.update(values)
                filled.append(replace(full, values=values))
        at = self.job.finished_at
        told = entries.tell_file(seen.file_id, filled, at, is_open=seen.file_open)
        self.told.extend(told)
        return filled

    def _status(self) -> bool:
        job, before = self.job, self.before
        if self.seen.partial or self.seen.gone or job.status == before.told_status:
            return False
        changed: dict[str, Any] = {}
        if not self.is_first and self.job_before is not None:
            changed = changes(self.job_before, job, TRAVELLING_FIELDS)
        payload = JobStatusChanged(
            job=job_object(job), previous_status=before.told_status, changes=changed
        )
        at = job.finished_at if job.state.is_terminal else None
        self.told.append(self._once(status_type(job.status), payload, job.status, at))
        return True

    def _removed(self) -> None:
        if self.seen.gone and not self.before.removed:
            payload = self._ended(JobRemoved)
            self.told.append(self._once(JobRemoved.TYPE, payload))

    def _ended(
        self, kind: type[JobSettled | JobReopened | JobRemoved]
    ) -> JobSettled | JobReopened | JobRemoved:
        job, started = self.job, self.before.started_at
        return kind(
            job=job_object(job),
            duration_seconds=_between(job.created_at, job.finished_at),
            queue_seconds=_between(job.created_at, started),
        )

    def _reopens(self) -> bool:
        """Whether a job that was done with has more to say, or came back."""
        if self.seen.gone:
            return False
        is_back = self.before.removed and self.seen.raw is not None
        return is_back or (self.before.settled and bool(self.told))

    def _settles(self, *, is_news: bool) -> bool:
        seen = self.seen
        if self.before.settled or seen.partial or not seen.complete or seen.gone:
            return False
        if is_news or self.unconfirmed or not self.job.state.is_terminal:
            return False
        return seen.quiet_for is not None and seen.quiet_for >= seen.settle_window


def _between(start: int | None, end: int | None) -> int | None:
    if start is None or end is None or end < start:
        return None
    return end - start
