"""One look at one job: ask for what can have moved, commit it, learn from the answer.

A complete look is the job, its events, its checkpoints and its result file. Which of
them a look asks for is decided here; when to look is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from msgspec.structs import replace
from structlog.typing import FilteringBoundLogger

from tunewatch import pace
from tunewatch.clock import Clock
from tunewatch.diff import Observation
from tunewatch.model import Checkpoint, Entry
from tunewatch.poller.asking import Asker
from tunewatch.poller.filling import ResultFiles
from tunewatch.poller.tracked import Outline, Tracked
from tunewatch.poller.walk import EntryWalk, KnownOf, all_checkpoints
from tunewatch.sources.contract import Missing, Source, Unreadable
from tunewatch.store.records import Committed, JobFault

MOST_ENTRIES = 2000
"""Entries in one transaction; a look with more is cut, the state comes last."""

Commit = Callable[[Sequence[Observation]], Awaitable[list[Committed | JobFault]]]


class NotCommitted(Exception):
    """The store could not take this one job's look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looker:
    """Looks at jobs of one source."""

    source: Source
    asker: Asker
    files: ResultFiles
    commit: Commit
    known_of: Callable[[int | None], KnownOf]  #: by key: events that are committed
    clock: Clock
    rates: pace.Rates
    numbers: count[int]  #: looks of this lease term
    log: FilteringBoundLogger

    async def look(self, job: Tracked) -> Committed | None:
        """Look at a job and commit what is seen; None if there was nothing to say.

        Raises the source's faults, and NotCommitted.
        """
        now = self.clock.monotonic()
        seen = Observation(
            job_id=job.id,
            look=next(self.numbers),
            at=self.clock.now(),
            settle_window=self.rates.settle_window,
            absent_for={name: now - since for name, since in job.absent.items()},
            absent_after=self.rates.poll_interval,
            confirmed=self._is_confirmed(job, now),
            quiet_for=None if job.quiet_since is None else now - job.quiet_since,
        )
        seen, current = await self._job(job, seen)
        ended = current.state.is_terminal
        whole = ended or job.is_first_look or job.is_slow(now)
        tenth = job.looks % pace.CHECKPOINTS_EVERY == pace.CHECKPOINTS_EVERY - 1
        is_short = not self.asker.has_room
        if tenth and (job.was_quiet or is_short) and not whole and seen.raw is None:
            # The one request of such a look asks for the checkpoints this time, so
            # that neither a quiet cycle nor one that is short of requests ever costs
            # more than one a job.
            seen = replace(seen, checkpoints=await self._checkpoints(job))
            return await self._committed(job, seen, now)
        if ended and job.walk is not None and job.walk.is_begun:
            seen = await self._made_up(job, seen)
        entries, walk = await self._entries(job)
        turned = current.status != job.state.told_status
        moved = bool(entries) or turned
        needed = whole or tenth or turned or brings_checkpoints(entries)
        if needed or (moved and self.asker.has_room):
            seen = replace(seen, checkpoints=await self._checkpoints(job))
        if ended:
            has_file, seen = await self.files.at_end(job, current, seen)
            seen = replace(seen, complete=has_file)
        elif moved:
            seen = await self.files.early(job, current, entries, seen)
        job.was_quiet, job.brought = not moved, len(entries)
        if not moved and seen.raw is None and seen.checkpoints is None:
            job.looks += 1
            job.failures = 0
            job.walked(walk)
            return None
        committed = await self._committed(job, replace(seen, entries=entries), now)
        job.walked(walk)
        return committed

    async def gone(self, job: Tracked) -> Committed:
        """Commit that the provider has the job no more. Raises NotCommitted."""
        number, at = next(self.numbers), self.clock.now()
        seen = Observation(job_id=job.id, look=number, at=at, gone=True)
        committed = await self._commit_one(seen)
        learn(job, seen, committed, self.clock.monotonic())
        return committed

    def _is_confirmed(self, job: Tracked, now: float) -> bool:
        since = job.doubted_at
        return since is not None and now - since >= self.rates.poll_interval

    async def _job(
        self, job: Tracked, seen: Observation
    ) -> tuple[Observation, Outline]:
        """Retrieve the job if the pages do not tell how it is, or if it has ended."""
        if not job.asks_for_retrieve(self.clock.monotonic()):
            return seen, job.outline
        # Before the request: who says otherwise while it is under way wants another.
        job.needs_retrieve = False
        raw = await self.asker.job(job.id)
        said = self.source.decode(raw.raw)
        if said.id != job.id:
            raise Unreadable(f"asked for job {job.id}, was answered {said.id!r}")
        return replace(seen, raw=raw.raw), Outline.of(said)

    async def _entries(
        self, job: Tracked
    ) -> tuple[tuple[Entry, ...], EntryWalk | None]:
        """Return what is new, and the walk that found it.

        A walk that breaks off is kept and goes on at the next look.
        """
        if job.walk is None:
            known_of = self.known_of(job.key)
            job.walk = EntryWalk(
                self.asker, job.id, known_of, brought=job.brought, ground=job.ground
            )
        walk = job.walk
        try:
            entries = await walk.finish(job.entries_digest)
        except Missing:
            # Some compatible APIs have jobs and no events.
            return (), None
        except Unreadable:
            job.walk = None  # its cursor may be what is wrong: begin again
            raise
        if walk.malformed > job.malformed:
            self.log.warning("poll.malformed_events", job=job.id, count=walk.malformed)
        job.malformed = walk.malformed
        return entries, walk

    async def _made_up(self, job: Tracked, seen: Observation) -> Observation:
        """Commit what a walk finds that an earlier look began; return what is left.

        It knows of nothing that came after that, and the job has ended since: its last
        points have to be told by their events before its file, which has all of them.
        """
        entries, walk = await self._entries(job)
        for part in _parts(entries):
            committed = await self._commit_part(seen, part)
            job.key = committed.job_key or job.key
            seen = replace(seen, look=next(self.numbers))
        job.walked(walk)
        return seen

    async def _checkpoints(self, job: Tracked) -> tuple[Checkpoint, ...] | None:
        try:
            return await all_checkpoints(self.asker, job.id)
        except Missing:
            return None  # some compatible APIs have none

    async def _committed(
        self, job: Tracked, seen: Observation, now: float
    ) -> Committed:
        """Commit a look, in parts if it is a long one, and learn from the answer."""
        *parts, last = _parts(seen.entries) or [()]
        for part in parts:
            await self._commit_part(seen, part)
            seen = replace(seen, look=next(self.numbers))
        committed = await self._commit_one(replace(seen, entries=last))
        learn(job, seen, committed, now)
        return committed

    async def _commit_part(
        self, seen: Observation, entries: tuple[Entry, ...]
    ) -> Committed:
        """Commit some entries of a look and nothing else of it."""
        part = replace(
            seen,
            entries=entries,
            checkpoints=None,
            file_id=None,
            file_points=(),
            complete=False,
            partial=True,
        )
        return await self._commit_one(part)

    async def _commit_one(self, seen: Observation) -> Committed:
        (outcome,) = await self.commit([seen])
        if isinstance(outcome, JobFault):
            raise NotCommitted(outcome.reason)
        return outcome


def _parts(entries: tuple[Entry, ...]) -> list[tuple[Entry, ...]]:
    starts = range(0, len(entries), MOST_ENTRIES)
    return [entries[start : start + MOST_ENTRIES] for start in starts]


def brings_checkpoints(entries: Iterable[Entry]) -> bool:
    """Whether new events are such as come with a checkpoint.

    Words of the provider, or the validation at an epoch's end: not each step.
    """
    return any(
        entry.point is None
        or any(name.startswith("full_") for name in entry.point.values)
        for entry in entries
    )


def learn(job: Tracked, seen: Observation, committed: Committed, now: float) -> None:
    """Take over what a committed look says into what is remembered of the job."""
    job.looks += 1
    job.failures = 0
    job.key = committed.job_key or job.key
    if seen.raw is not None:
        job.found()
    if committed.outcome == "unconfirmed":
        if job.doubted_at is None:
            job.doubted_at = now
    else:
        job.doubted_at = None
    job.take(committed.job, committed.state)
    if seen.checkpoints is not None:
        job.note_absent(committed.absent, now)
    if committed.changed:
        job.unchanged_since = now
        job.quiet_since = None
    if seen.complete and job.quiet_since is None:
        job.quiet_since = now
