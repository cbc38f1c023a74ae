"""A plain `JobReader` and `Clock` for plugins under test: state is put in by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from tunewatch.model import Snapshot
from tunewatch.plugin import Context, Count, JobRow


class HandmadeJobs:
    """Answers what it was given; `reads` counts the snapshots that were asked for."""

    def __init__(self) -> None:
        self.snapshots: dict[tuple[str, str], Snapshot] = {}
        self.rows: Sequence[JobRow] = ()
        self.totals: Sequence[Count] = ()
        self.fault: Exception | None = None
        self.reads = 0
        self.windows: list[tuple[float, int]] = []

    async def snapshot(self, source: str, job_id: str) -> Snapshot | None:
        self.reads += 1
        return self.snapshots.get((source, job_id))

    async def window(self, *, finished_within: float, limit: int) -> Sequence[JobRow]:
        self.windows.append((finished_within, limit))
        if self.fault is not None:
            raise self.fault
        return self.rows[:limit]

    async def counts(self) -> Sequence[Count]:
        return self.totals


class SteadyClock:
    """Shows the time it was set to."""

    def __init__(self, now: float = 1_723_208_000.0) -> None:
        self.at = now

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


def lent_context(
    jobs: HandmadeJobs,
    state_dir: Path,
    *,
    name: str = "under_test",
    registry: CollectorRegistry | None = None,
) -> Context:
    """Return what the host would lend to a plugin."""
    return Context(
        name=name,
        log=structlog.get_logger(plugin=name),
        state_dir=state_dir,
        jobs=jobs,
        clock=SteadyClock(),
        registry=registry or CollectorRegistry(),
    )
