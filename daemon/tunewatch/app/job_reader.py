"""What plugins may read: the committed state, of the sources that live here.

As far as a plugin's table reaches: the jobs that it would get events of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tunewatch.clock import Clock
from tunewatch.model import Snapshot
from tunewatch.plugin import Count, JobRow, WindowPart
from tunewatch.store.reads import Reader
from tunewatch.store.records import SourceRow


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreJobReader:
    """`plugin.JobReader` over the store."""

    reads: Reader
    held: Callable[[], Sequence[int]]  #: ids of the sources whose lease is here
    clock: Clock
    hears: Callable[[str], bool] | None = None  #: which sources; None: all of them
    metadata: Mapping[str, str] = field(default_factory=dict)  #: of its table

    async def snapshot(self, source: str, job_id: str) -> Snapshot | None:
        """See `plugin.JobReader`."""
        return await self.reads.snapshot(source, job_id)

    async def window(self, *, finished_within: float, limit: int) -> Sequence[JobRow]:
        """See `plugin.JobReader`."""
        return await self.reads.window(
            finished_within=finished_within,
            limit=limit,
            now=self.clock.now(),
            source_ids=await self._lent(),
            metadata=self.metadata,
        )

    async def window_parts(
        self, *, finished_within: float, limit: int
    ) -> AsyncIterator[WindowPart]:
        """See `plugin.JobReader`."""
        parts = self.reads.window_parts(
            finished_within=finished_within,
            limit=limit,
            now=self.clock.now(),
            source_ids=await self._lent(),
            metadata=self.metadata,
        )
        async for part in parts:
            yield part

    async def sources(self) -> Sequence[str]:
        """See `plugin.JobReader`."""
        return [row.name for row in await self._rows()]

    async def counts(self) -> Sequence[Count]:
        """See `plugin.JobReader`."""
        if self.metadata:
            return ()
        return await self.reads.counts(await self._lent())

    async def _lent(self) -> Sequence[int]:
        if self.hears is None:
            return self.held()
        return [row.id for row in await self._rows()]

    async def _rows(self) -> list[SourceRow]:
        held = set(self.held())
        return [
            row
            for row in await self.reads.sources()
            if row.id in held and (self.hears is None or self.hears(row.name))
        ]
