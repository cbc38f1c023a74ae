"""Result files: when one is asked for, and how much of it is taken for good.

Most providers name a file after the end, whole. Some name it early and fill it as the
run goes: such a file is read again until the job is settled, and its last row, which
may be half written, counts only once the file stands still. What a file adds to the
events is the diff's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from structlog.typing import FilteringBoundLogger

from tunewatch import pace
from tunewatch.clock import Clock
from tunewatch.diff import Observation
from tunewatch.model import Entry, MetricPoint
from tunewatch.poller.asking import Asker
from tunewatch.poller.tracked import NEVER, Outline, Tracked
from tunewatch.sources.contract import SourceFault

Points = tuple[MetricPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFiles:
    """Reads the result files of one source's jobs."""

    asker: Asker
    clock: Clock
    log: FilteringBoundLogger
    grow: bool  #: whether the source's files are named early

    async def early(
        self,
        job: Tracked,
        current: Outline,
        entries: Sequence[Entry],
        seen: Observation,
    ) -> Observation:
        """Return the look at a job that goes on with what its file says so far.

        Only with news of the job, and not at every look: a file costs a request. Rows
        of steps that no event has told yet are left to the events to come.
        """
        if not self.grow:
            return seen
        names = _unread(job, current)
        steps = [entry.point.step for entry in entries if entry.point is not None]
        told = max([*steps, -1 if job.state.step is None else job.state.step])
        rests = job.looks - job.file_looked < pace.CHECKPOINTS_EVERY
        if not names or told < 0 or rests:
            return seen
        job.file_looked = job.looks
        points = await self._points(job, names[0])
        rows, _ = _standing(job, names[0], points or ())
        rows = tuple(row for row in rows if row.step <= told)
        if not rows:
            return seen
        return replace(seen, file_id=names[0], file_points=rows, file_open=True)

    async def at_end(
        self, job: Tracked, current: Outline, seen: Observation
    ) -> tuple[bool, Observation]:
        """Read the file of an ended job; return whether it no longer blocks."""
        now = self.clock.monotonic()
        names = _unread(job, current)
        expected = bool(names) or (
            current.status == "succeeded" and not current.result_files
        )
        if not expected:
            return True, seen
        if job.file_first_tried is None:
            job.file_first_tried = now
        waived = job.may_settle_without_file(now)
        if not names or now < job.file_next:
            return waived, seen
        points = await self._points(job, names[0])
        if points is None:
            return waived, seen
        is_whole = True
        if self.grow:
            points, is_whole = _standing(job, names[0], points)
        is_last = len(names) == 1
        # Settling closes an open one; one that comes later is closed when it is whole.
        closes = is_whole and (job.state.settled or not is_last)
        filled = replace(
            seen,
            file_id=names[0],
            file_points=points,
            file_open=self.grow and not closes,
        )
        # A file after the first, should a provider have one, is for the next look.
        return is_whole and is_last, filled

    async def _points(self, job: Tracked, file_id: str) -> Points | None:
        """Return what the file says, None if it cannot be had for now.

        Never a failure of the look: how the job is must not wait for its file.
        """
        try:
            points = await self.asker.file(file_id)
        except SourceFault as fault:
            now = self.clock.monotonic()
            if job.may_settle_without_file(now):
                job.file_next = now + pace.FILE_AGAIN
            if job.file_missed != file_id:
                job.file_missed = file_id
                reason = fault.reason
                self.log.info(
                    "poll.no_result_file", job=job.id, file=file_id, reason=reason
                )
            return None
        job.file_next = NEVER
        if job.file_missed == file_id:
            job.file_missed = None
            self.log.info("poll.result_file_came", job=job.id, file=file_id)
        return points


def _unread(job: Tracked, current: Outline) -> list[str]:
    return [name for name in current.result_files if name not in job.state.files]


def _standing(job: Tracked, name: str, points: Points) -> tuple[Points, bool]:
    """Return the rows that can be believed, and whether those are all there are."""
    before, job.file_rows = job.file_rows, (name, len(points))
    return (points, True) if job.file_rows == before else (points[:-1], False)
