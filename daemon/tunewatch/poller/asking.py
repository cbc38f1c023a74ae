"""Requests of one source, each paid for from its budget.

The only thing the poller asks a provider through. Knows what requests cost and what
the provider asked for, not what the answers mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from tunewatch import bulkheads
from tunewatch.bulkheads import bulkhead
from tunewatch.model import Checkpoint, Entry, MetricPoint
from tunewatch.poller.budget import Budget, Purpose
from tunewatch.sources.contract import Page, RawJob, Source, Unavailable

AnswerT = TypeVar("AnswerT")

LONGEST_HOLD = 86_400.0
"""s: a longer Retry-After is honoured up to this."""


class Asker:
    """Asks the source, one token a request; holds back as long as it was asked to."""

    def __init__(self, source: Source, budget: Budget) -> None:
        self._source = source
        self._owner = bulkheads.source(source.name)
        self._budget = budget

    @property
    def has_room(self) -> bool:
        """Whether the budget has room for what a look can do without."""
        return self._budget.has_room

    @property
    def is_waited_for(self) -> bool:
        """Whether a request waits for its turn: a further one would wait behind it."""
        return self._budget.waiting > 0

    async def jobs(self, after: str | None, limit: int) -> Page[RawJob]:
        """Return a page of jobs."""
        ask = partial(self._source.list_jobs, after=after, limit=limit)
        return await self._paid("discovery", ask)

    async def job(self, job_id: str) -> RawJob:
        """Return a job as it is now."""
        ask = partial(self._source.retrieve_job, job_id)
        return await self._paid("look", ask)

    async def entries(self, job_id: str, after: str | None, limit: int) -> Page[Entry]:
        """Return a page of a job's events."""
        ask = partial(self._source.list_entries, job_id, after=after, limit=limit)
        return await self._paid("look", ask)

    async def checkpoints(
        self, job_id: str, after: str | None, limit: int
    ) -> Page[Checkpoint]:
        """Return a page of a job's checkpoints."""
        ask = partial(self._source.list_checkpoints, job_id, after=after, limit=limit)
        return await self._paid("look", ask)

    async def file(self, file_id: str) -> tuple[MetricPoint, ...]:
        """Return the points of a result file."""
        ask = partial(self._source.result_points, file_id)
        return await self._paid("look", ask)

    async def _paid(
        self, purpose: Purpose, ask: Callable[[], Awaitable[AnswerT]]
    ) -> AnswerT:
        await self._budget.take(purpose)
        try:
            with bulkhead(self._owner):
                return await ask()
        except Unavailable as fault:
            if fault.after is not None:
                self._budget.hold(min(fault.after, LONGEST_HOLD))
            raise
