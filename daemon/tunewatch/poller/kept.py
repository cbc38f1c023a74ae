"""What the store keeps of a source, as its poller asks for it.

While the store is away whoever asks waits, as whoever commits does. Knows no request
to a provider.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tunewatch.poller.committing import Committer
from tunewatch.poller.walk import KnownOf
from tunewatch.sources.contract import Source
from tunewatch.store.outages import SourceState
from tunewatch.store.records import Fence, PeekedJob, SourceRow, TrackedJob
from tunewatch.store.sources import Sources

MOST_NEWER = 10_000
"""Newer jobs are counted up to here: beyond, a job is retrieved by itself anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The store's memory of one source."""

    sources: Sources
    row: SourceRow
    fence: Fence
    source: Source
    committer: Committer

    async def tracked(self) -> list[TrackedJob]:
        """Return the jobs that are neither settled nor removed."""
        return await self.committer.owed(
            lambda: self.sources.tracked(self.row.id, self.source.decode)
        )

    async def peek(self, ids: Collection[str]) -> dict[str, PeekedJob]:
        """Return what is known of these jobs, whoever owns them."""
        return await self.committer.owed(
            lambda: self.sources.peek(self.row.realm, list(ids))
        )

    async def count_newer(self, created_at: int) -> int:
        """Return how many jobs are newer."""
        return await self.committer.owed(
            lambda: self.sources.count_newer(self.row.id, created_at, MOST_NEWER)
        )

    async def state(self) -> SourceState:
        """Return whether the source was told to be down, and when it was listed."""
        return await self.committer.owed(lambda: self.sources.state(self.row.id))

    async def note_listed(self) -> None:
        """Keep that the whole list was read just now. Raises LeaseLost."""
        await self.committer.owed(lambda: self.sources.note_listed(self.fence))

    async def save_walk(self, cursor: str | None, done: bool) -> None:
        """Keep how far the first walk got. Raises LeaseLost."""
        await self.committer.owed(
            lambda: self.sources.save_walk(self.fence, cursor, done=done)
        )

    def known_of(self, key: int | None) -> KnownOf:
        """Return what tells which events of the job of that key are committed."""

        async def known(ids: Sequence[str]) -> set[str]:
            if key is None:
                return set()
            return await self.committer.owed(
                lambda: self.sources.known_entries(key, ids)
            )

        return known
