"""A real store with jobs in it, as a daemon leaves it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import insert, update

from tunewatch.clock import SystemClock
from tunewatch.diff import Observation
from tunewatch.model import Checkpoint, Entry, MetricPoint, Selection
from tunewatch.sources.openai.decode import job_of
from tunewatch.store import schema
from tunewatch.store.opening import Store, open_store
from tunewatch.store.records import Fence

CREATED = 1_760_000_000


class Filling:
    """Puts jobs into an open store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fences: dict[str, Fence] = {}
        self._looks = itertools.count(1)

    async def source(self, name: str, realm: str = "openai:https://api") -> Fence:
        """Return the lease of a source, made at first contact."""
        if name not in self._fences:
            row = await self._store.sources.contact(name, "openai", realm)
            held = await self._store.leases.acquire(row.id)
            assert held is not None
            self._fences[name] = held
        return self._fences[name]

    async def job(
        self,
        job_id: str,
        *,
        source: str = "research",
        realm: str = "openai:https://api",
        created_at: int = CREATED,
        points: Mapping[int, Mapping[str, float]] | None = None,
        checkpoints: Mapping[int, Mapping[str, float]] | None = None,
        **fields: Any,
    ) -> None:
        """Commit one job with its points and checkpoints."""
        held = await self.source(source, realm)
        raw = {
            "object": "fine_tuning.job",
            "id": job_id,
            "status": "running",
            "model": "gpt-4.1-nano",
            "created_at": created_at,
            **fields,
        }
        seen = Observation(
            job_id=job_id,
            look=next(self._looks),
            at=created_at + 60.0,
            raw=json.dumps(raw).encode(),
            entries=tuple(_entries(job_id, created_at, points or {})),
            checkpoints=tuple(_checkpoints(job_id, created_at, checkpoints or {})),
        )
        (done,) = await self._store.journal.commit(held, [seen], decode=job_of)
        assert getattr(done, "outcome", None) == "committed", done

    async def look(self, job_id: str, points: Sequence[MetricPoint]) -> None:
        """Commit what a result file told of a job."""
        held = self._fences["research"]
        seen = Observation(
            job_id=job_id,
            look=next(self._looks),
            at=CREATED + 90.0,
            file_id="file-1",
            file_points=tuple(points),
        )
        await self._store.journal.commit(held, [seen], decode=job_of)

    async def many(self, count: int) -> None:
        """Commit so many jobs in one go."""
        held = await self.source("research")
        seen = [
            Observation(
                job_id=f"ftjob-{number:06}",
                look=next(self._looks),
                at=CREATED + 60.0,
                raw=json.dumps(
                    {
                        "id": f"ftjob-{number:06}",
                        "status": "running",
                        "model": "gpt-4.1-nano",
                        "created_at": CREATED + number,
                    }
                ).encode(),
            )
            for number in range(count)
        ]
        await self._store.journal.commit(held, seen, decode=job_of)

    async def choose(self, job_id: str, kind: str, **data: Any) -> None:
        """Leave what a reactor concluded about a job."""
        chosen = Selection(
            type=f"tunewatch.checkpoint.{kind}",
            event_id="evt_1",
            created_at=CREATED,
            data=data,
        )
        body = msgspec.json.encode(chosen)
        statement = update(schema.job).where(schema.job.c.id == job_id)

        def write(connection: Any) -> None:
            connection.execute(statement.values(selection=body, settled=True))

        await self._store.carrier.write(write)

    async def mark(self, plugin: str, *, source: str = "research") -> None:
        """Leave a plugin's mark: it has finished everything there was."""
        held = await self.source(source)
        values = {"plugin": plugin, "source_id": held.source_id, "position": 10**6}
        values |= {"in_flight": b"[]", "last_used_at": CREATED}

        def write(connection: Any) -> None:
            connection.execute(insert(schema.mark).values(values))

        await self._store.carrier.write(write)


def _entries(
    job_id: str, created_at: int, points: Mapping[int, Mapping[str, float]]
) -> list[Entry]:
    return [
        Entry(
            id=f"{job_id}-e{step}",
            created_at=created_at + step,
            type="metrics",
            point=MetricPoint(step=step, values=dict(values), total_steps=90),
        )
        for step, values in points.items()
    ]


def _checkpoints(
    job_id: str, created_at: int, checkpoints: Mapping[int, Mapping[str, float]]
) -> list[Checkpoint]:
    return [
        Checkpoint(
            id=f"ftckpt-{job_id}-{step}",
            step=step,
            created_at=created_at + step,
            model=f"ft:gpt-4.1-nano:acme::{job_id}:ckpt-step-{step}",
            metrics=dict(metrics),
        )
        for step, metrics in checkpoints.items()
    ]


@asynccontextmanager
async def filling(path: Path) -> AsyncIterator[Filling]:
    """Open a store file to put jobs into."""
    url = f"sqlite:///{path}"
    async with open_store(url, clock=SystemClock(), owner="test") as store:
        yield Filling(store)


def make_large_store(path: Path, jobs: int) -> None:
    """Make a store with many jobs, for benchmarks."""

    async def make() -> None:
        async with filling(path) as to:
            await to.many(jobs)

    asyncio.run(make())
