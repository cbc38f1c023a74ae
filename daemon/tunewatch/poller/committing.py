"""The poller's side of the journal: what was seen is owed until it is written.

While the store takes nothing (disk full, database away), whoever commits waits, so
that polling pauses by itself and goes on by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from tunewatch import pace
from tunewatch.clock import Clock
from tunewatch.diff import Observation
from tunewatch.events import SourceDown, SourceUp
from tunewatch.poller.tide import Tide
from tunewatch.sources.contract import Source
from tunewatch.store.journal import Journal
from tunewatch.store.persevering import Persevering
from tunewatch.store.records import Committed, Fence, JobFault

T = TypeVar("T")
FIRST_WAIT = 0.5
"""s before a commit is tried again for the first time, doubling."""
LONGEST_WAIT = 4.0
"""s between tries at most: polling resumes within seconds after the store is back."""


@dataclass(slots=True, kw_only=True)
class Committer:
    """Commits the observations of one source under its lease."""

    journal: Journal
    fence: Fence
    source: Source
    clock: Clock
    jitter: pace.Jitter
    log: FilteringBoundLogger
    tide: Tide | None = None  #: None: every look is committed at once
    _store: Persevering = field(init=False)

    def __post_init__(self) -> None:
        self._store = Persevering(
            first=FIRST_WAIT,
            longest=LONGEST_WAIT,
            clock=self.clock,
            jitter=self.jitter,
            paused=lambda why: self.log.warning("poll.waits_for_store", reason=why),
            resumed=lambda: self.log.info("poll.store_is_back"),
        )

    @property
    def paused_reason(self) -> str | None:
        """Why polling waits for the store."""
        return self._store.reason

    async def commit(
        self, observations: Sequence[Observation]
    ) -> list[Committed | JobFault]:
        """Commit; wait while the store is unavailable. Raises LeaseLost, StoreBroken.

        A commit of unknown outcome is simply made again: the locked state and the
        natural ids make that harmless.
        """
        if self.tide is not None:
            await self.tide.wait(self.fence.source_id)
        return await self.owed(
            lambda: self.journal.commit(
                self.fence, observations, decode=self.source.decode
            )
        )

    async def tell(self, payload: SourceDown | SourceUp) -> None:
        """Commit an event of the source itself, the same way."""
        await self.owed(lambda: self.journal.source_event(self.fence, payload))

    async def owed(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write, as often as it takes while the store is unavailable."""
        return await self._store.insist(lambda _again: write())
