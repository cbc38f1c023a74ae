"""What a plugin is lent, made for tests: a context over a few snapshots.

Knows nothing of how the daemon reads its store.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from tunewatch.glance import glance
from tunewatch.model import Snapshot
from tunewatch.plugin import Context, Count, JobKind, JobRow, StateAway, WindowPart


@dataclass(slots=True)
class LentJobs:
    """A `JobReader` over what a test puts into it."""

    snapshots: dict[tuple[str, str], Snapshot] = field(default_factory=dict)
    rows: list[JobRow] = field(default_factory=list)
    totals: list[Count] = field(default_factory=list)
    is_away: bool = False  #: as while the store is: then nothing can be read

    def put(self, snapshot: Snapshot) -> None:
        """Let a job be as this snapshot says."""
        self.snapshots[snapshot.source, snapshot.job.id] = snapshot

    async def snapshot(self, source: str, job_id: str) -> Snapshot | None:
        """See `plugin.JobReader`."""
        self._look()
        return self.snapshots.get((source, job_id))

    async def window(self, *, finished_within: float, limit: int) -> Sequence[JobRow]:
        """See `plugin.JobReader`; `finished_within` is not looked at."""
        self._look()
        del finished_within
        return self.rows[:limit]

    async def window_parts(
        self, *, finished_within: float, limit: int
    ) -> AsyncIterator[WindowPart]:
        """See `plugin.JobReader`; all of it is one part."""
        self._look()
        del finished_within
        jobs = [glance(row) for row in self.rows]
        hidden = (
            JobKind(job.source, job.status, job.model, job.method)
            for job in jobs[limit:]
        )
        yield WindowPart(jobs[:limit], Counter(hidden))

    async def sources(self) -> Sequence[str]:
        """See `plugin.JobReader`."""
        self._look()
        return sorted({row.source for row in self.rows})

    async def counts(self) -> Sequence[Count]:
        """See `plugin.JobReader`."""
        self._look()
        return self.totals

    def _look(self) -> None:
        if self.is_away:
            raise StateAway


class _WallClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def lent(name: str, state_dir: Path, *, jobs: LentJobs | None = None) -> Context:
    """Return a context for a plugin instance of that name."""
    return Context(
        name=name,
        log=structlog.get_logger(name),
        state_dir=state_dir,
        jobs=LentJobs() if jobs is None else jobs,
        clock=_WallClock(),
        registry=CollectorRegistry(),
    )


Settings = Mapping[str, object]
"""A plugin's table as it stands in the configuration, without the reserved keys."""
