"""A plain `JobReader` and `Clock` for plugins under test: state is put in by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from tunewatch.glance import glance
from tunewatch.model import Snapshot
from tunewatch.plugin import Context, Count, JobKind, JobReader, JobRow, WindowPart

PART = 200
"""Jobs that are handed out at once."""


class HandmadeJobs:
    """Answers what it was given; `reads` counts the snapshots that were asked for."""

    def __init__(self) -> None:
        self.snapshots: dict[tuple[str, str], Snapshot] = {}
        self.rows: Sequence[JobRow] = ()
        self.totals: Sequence[Count] = ()
        self.names: Sequence[str] = ("research",)
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

    async def window_parts(
        self, *, finished_within: float, limit: int
    ) -> AsyncIterator[WindowPart]:
        await self.window(finished_within=finished_within, limit=limit)
        rows = sorted(self.rows, key=lambda row: row.job.state.is_terminal)
        for at in range(0, len(rows), PART):
            part = rows[at : at + PART]
            shown = max(0, min(len(part), limit - at))
            yield WindowPart(
                [glance(row) for row in part[:shown]],
                Counter(_kind(row) for row in part[shown:]),
            )

    async def sources(self) -> Sequence[str]:
        return self.names

    async def counts(self) -> Sequence[Count]:
        return self.totals


def _kind(row: JobRow) -> JobKind:
    job = row.job
    return JobKind(row.source, job.status, job.model, job.training_method)


class SteadyClock:
    """Shows the time it was set to."""

    def __init__(self, now: float = 1_723_208_000.0) -> None:
        self.at = now

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


def lent_context(
    jobs: JobReader,
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
