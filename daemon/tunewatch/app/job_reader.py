"""What plugins may read: the committed state, of the sources that live here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from tunewatch.clock import Clock
from tunewatch.model import Snapshot
from tunewatch.plugin import Count, JobRow, WindowPart
from tunewatch.store.reads import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreJobReader:
    """`plugin.JobReader` over the store."""

    reads: Reader
    held: Callable[[], Sequence[int]]  #: ids of the sources whose lease is here
    clock: Clock

    async def snapshot(self, source: str, job_id: str) -> Snapshot | None:
        """See `plugin.JobReader`."""
        return await self.reads.snapshot(source, job_id)

    async def window(self, *, finished_within: float, limit: int) -> Sequence[JobRow]:
        """See `plugin.JobReader`."""
        return await self.reads.window(
            finished_within=finished_within,
            limit=limit,
            now=self.clock.now(),
            source_ids=self.held(),
        )

    def window_parts(
        self, *, finished_within: float, limit: int
    ) -> AsyncIterator[WindowPart]:
        """See `plugin.JobReader`."""
        return self.reads.window_parts(
            finished_within=finished_within,
            limit=limit,
            now=self.clock.now(),
            source_ids=self.held(),
        )

    async def sources(self) -> Sequence[str]:
        """See `plugin.JobReader`."""
        held = set(self.held())
        return [row.name for row in await self.reads.sources() if row.id in held]

    async def counts(self) -> Sequence[Count]:
        """See `plugin.JobReader`."""
        return await self.reads.counts(self.held())
