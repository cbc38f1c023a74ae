"""Pages of the job list: what is new, what moved, what is only passing by.

Items whose bytes have not changed are not decoded. A change seen on a page is only a
reason to retrieve the job: a lagging page invents changes.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec

from tunewatch import pace
from tunewatch.clock import Clock
from tunewatch.diff import Observation
from tunewatch.diff.changes import UPDATED_FIELDS
from tunewatch.model import Job, is_said, overlay
from tunewatch.poller.noticed import Noticed
from tunewatch.poller.tracked import Tracked
from tunewatch.poller.walk import KnownGround
from tunewatch.sources.contract import Page, RawJob, Source, Unreadable
from tunewatch.store.records import Committed, JobFault, PeekedJob

Commit = Callable[[Sequence[Observation]], Awaitable[list[Committed | JobFault]]]
Peek = Callable[[Collection[str]], Awaitable[dict[str, PeekedJob]]]

MOST_BURIED = 2_000
"""Purged jobs that are known without asking the store: those of the pages read again
and again, not a million that only the daily walk comes by."""


@dataclass(slots=True, kw_only=True)
class Listing:
    """Reads pages of jobs into what is tracked."""

    source: Source
    source_id: int
    backfill_before: float  #: unix seconds
    tracked: dict[str, Tracked]
    peek: Peek
    commit: Commit
    clock: Clock
    numbers: count[int]
    noticed: Noticed
    _digests: dict[int, dict[bytes, str]] = field(default_factory=dict)
    _shown: set[str] = field(default_factory=set)  # by this round of pages
    _buried: set[str] = field(default_factory=set)  # retention purged them

    async def take(
        self, page: Page[RawJob], *, rank: int | None, ground: KnownGround | None = None
    ) -> tuple[bool, list[tuple[str, RawJob]]]:
        """Take a page in; return whether known ground was reached, and what is new.

        `rank` is the place of its first item in the list where that is known: what is
        unchanged on such a page since it was last read is not looked at again.
        """
        number = next(self.numbers)
        before = {} if rank is None else self._digests.get(rank, {})
        ids: list[tuple[str, RawJob]] = []
        changed: list[tuple[str, RawJob]] = []
        for raw in page.items:
            job_id = before.get(raw.digest)
            if job_id is None:
                job_id = self._identify(raw)
                if job_id is None:
                    continue
                changed.append((job_id, raw))
            ids.append((job_id, raw))
        strangers = [(i, raw) for i, raw in changed if i not in self.tracked]
        # Mostly there are none, and asking the store for nothing costs as much as the
        # rest of the page.
        peeked = await self.peek([i for i, _ in strangers]) if strangers else {}
        new = [
            (job_id, raw)
            for job_id, raw in strangers
            if job_id not in peeked
            and job_id not in self._buried
            and not self.noticed.is_unreadable(raw)
        ]
        await self._moved(changed, peeked, number)
        self._cover(ids, rank)
        if rank is not None:
            unknown = {job_id for job_id, _ in new}
            self._digests[rank] = {
                raw.digest: job_id for job_id, raw in ids if job_id not in unknown
            }
        self.noticed.malformed(page.malformed, rank=rank)
        is_new = {job_id for job_id, _ in new}
        reached = ground is not None and ground.reached(i not in is_new for i, _ in ids)
        return reached, new

    def _identify(self, raw: RawJob) -> str | None:
        try:
            return self.source.identify(raw.raw)
        except Unreadable as fault:
            self.noticed.unreadable(raw, fault)
            return None

    def _cover(self, ids: Sequence[tuple[str, RawJob]], rank: int | None) -> None:
        """Note whose status the page shows."""
        for place, (job_id, raw) in enumerate(ids):
            self._shown.add(job_id)
            job = self.tracked.get(job_id)
            if job is not None:
                job.is_covered = True
                job.digest = raw.digest
                if rank is not None:
                    job.rank = rank + place

    async def _moved(
        self,
        changed: Sequence[tuple[str, RawJob]],
        peeked: dict[str, PeekedJob],
        number: int,
    ) -> None:
        """Sort out what the changed items of known jobs mean."""
        silent: list[Observation] = []
        for job_id, raw in changed:
            job = self.tracked.get(job_id)
            if job is not None:
                if raw.digest == job.digest:
                    continue
                if self._contradicts(job, raw):
                    job.needs_retrieve = True
                    job.due = min(job.due, self.clock.monotonic())
                elif not job.is_looking and not job.is_first_look:
                    silent.append(self._observed(job_id, raw, number))
            elif job_id in peeked:
                self._awake(peeked[job_id], raw)
        if silent:
            await self.commit(silent)

    def _awake(self, known: PeekedJob, raw: RawJob) -> None:
        """Track a settled job again if its item says something else than we know."""
        if known.source_id != self.source_id:
            self.noticed.foreign(known.id, known.owner)
            return
        now = self.clock.monotonic()
        job = Tracked(known.job, now=now, state=known.state)
        job.key = known.key
        since_end = self._since_end(known.job)
        late = job.missing_files() and since_end < pace.FILE_GIVEN_UP
        if late:
            # Its day began at its end, which is stored, not with this start.
            job.file_first_tried = now - since_end
        if self._contradicts(job, raw) or known.state.removed or late:
            self.tracked[known.id] = job

    def _since_end(self, job: Job) -> float:
        """Return how many seconds ago a job ended; without end for one that did not."""
        ended = job.finished_at
        return math.inf if ended is None else max(0.0, self.clock.now() - ended)

    def _contradicts(self, job: Tracked, raw: RawJob) -> bool:
        """Whether an item says anything else of what people are told about."""
        try:
            said = self.source.decode(raw.raw)
        except Unreadable as fault:
            self.noticed.unreadable(raw, fault)
            return False
        job.listed = said.status
        if said.status != job.outline.status:
            return True
        kept = job.told
        return any(
            _differs(getattr(kept, name), getattr(said, name))
            for name in UPDATED_FIELDS
        )

    async def admit(self, new: Sequence[tuple[str, RawJob]]) -> None:
        """Commit the first sight of jobs, and track those that are not history.

        Those that ended before the backfill point are recorded without a word.
        """
        number = next(self.numbers)
        observations: list[Observation] = []
        jobs: dict[str, Job] = {}
        for job_id, raw in reversed(new):  # oldest first
            try:
                job = self.source.decode(raw.raw)
            except Unreadable as fault:
                self.noticed.unreadable(raw, fault)
                continue
            ended = job.finished_at or job.created_at
            silent = (
                job.state.is_terminal
                and ended is not None
                and ended < self.backfill_before
            )
            jobs[job_id] = job
            seen = self._observed(job_id, raw, number)
            observations.append(
                msgspec.structs.replace(seen, silent=silent, partial=not silent)
            )
        if not observations:
            return
        for outcome in await self.commit(observations):
            if isinstance(outcome, Committed):
                self._admitted(outcome, jobs[outcome.job_id])

    def _admitted(self, outcome: Committed, job: Job) -> None:
        if outcome.outcome == "foreign":
            self.noticed.foreign(outcome.job_id, outcome.owner)
            return
        if outcome.outcome == "tombstone":
            if len(self._buried) >= MOST_BURIED:
                self._buried.clear()
            self._buried.add(outcome.job_id)
        if outcome.outcome != "committed" or outcome.state.settled:
            return
        if outcome.job_id in self.tracked:  # two walks met
            return
        tracked = Tracked(job, now=self.clock.monotonic(), state=outcome.state)
        tracked.key = outcome.job_key
        # A page may lag, and what it shows of a running job is retrieved before it is
        # told; an ended job does not change its mind.
        tracked.needs_retrieve = not job.state.is_terminal
        tracked.is_covered = True
        self.tracked[outcome.job_id] = tracked

    def _observed(self, job_id: str, raw: RawJob, number: int) -> Observation:
        return Observation(job_id=job_id, look=number, at=self.clock.now(), raw=raw.raw)

    def begin_round(self) -> None:
        """Begin to note anew whose status is shown; until its end the last one counts.

        Looks go on while pages are read, and must not retrieve what is on its way.
        """
        self._shown = set()

    def is_shown(self, job_id: str) -> bool:
        """Whether this round of pages showed a job so far."""
        return job_id in self._shown

    def end_round(self) -> None:
        """Let this round tell who needs no retrieve."""
        for job_id, job in self.tracked.items():
            job.is_covered = job_id in self._shown


def _differs(kept: object, said: object) -> bool:
    """Whether what an answer says differs; what it does not say never does."""
    if not is_said(said):
        return False
    if isinstance(kept, dict) and isinstance(said, dict):
        return overlay(kept, said) != kept
    return kept != said
