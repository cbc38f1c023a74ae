"""A store full of active jobs, each with all that a real one has, and its /metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlalchemy import update

from support.job_rows import selection
from support.readers import lent_context
from tunewatch.app.job_reader import StoreJobReader
from tunewatch.clock import SystemClock
from tunewatch.diff import Observation
from tunewatch.model import Entry, MetricPoint, Selection
from tunewatch.plugin import Route
from tunewatch.sources.openai.decode import job_of
from tunewatch.store import schema
from tunewatch.store.opening import Store, open_store
from tunewatch.store.records import Fence
from tunewatch.telemetry import Telemetry
from tunewatch_plugins.prometheus import PLUGIN, Settings

CREATED = 1_760_000_000
AT_ONCE = 500
HYPERPARAMETERS = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8}
CURVES = {
    "train_loss": 0.257313,
    "train_mean_token_accuracy": 0.875123,
    "valid_loss": 0.512345,
    "valid_mean_token_accuracy": 0.71234,
    "full_valid_loss": 0.123456,
    "full_valid_mean_token_accuracy": 0.8,
}


@dataclass(slots=True)
class Many:
    """`/metrics` over a store with jobs."""

    route: Route
    store: Store
    held: Fence
    jobs: int = 0

    async def fill(self, count: int) -> None:
        """Put jobs into the store until there are so many."""
        while self.jobs < count:
            upto = min(count, self.jobs + AT_ONCE)
            seen = [look(n) for n in range(self.jobs, upto)]
            await self.store.journal.commit(self.held, seen, decode=job_of)
            self.jobs = upto
        chosen = msgspec.json.encode(choice())
        statement = update(schema.job).values(selection=chosen)
        await self.store.carrier.write(lambda connection: connection.execute(statement))


@asynccontextmanager
async def metrics_of_many(
    url: str, home: Path, count: int, *, shown: int | None = None
) -> AsyncIterator[Many]:
    """Lend `/metrics` over a new store with so many active jobs.

    Of which so many are shown, all by default.
    """
    clock = SystemClock()
    async with open_store(url, clock=clock, owner="many") as store:
        source = await store.sources.contact("research", "openai", "openai:https://x")
        held = await store.leases.acquire(source.id)
        assert held is not None
        telemetry = Telemetry(version="1")
        telemetry.born(sources=["research"], plugins=["ops"])
        jobs = StoreJobReader(reads=store.reads, held=lambda: [source.id], clock=clock)
        context = lent_context(jobs, home, registry=telemetry.registry)
        settings = Settings(max_jobs=50_000 if shown is None else shown)
        async with PLUGIN.open(settings, context) as view:
            (route,) = view.routes()
            many = Many(route, store, held)
            await many.fill(count)
            yield many


def look(number: int) -> Observation:
    """Return the first look at a job in the middle of its training."""
    created = CREATED + number
    job_id = f"ftjob-{number:024d}"
    point = MetricPoint(step=100, total_steps=300, values=CURVES)
    entry = Entry(id=f"e{number}", created_at=created + 90, type="metrics", point=point)
    raw = {
        "object": "fine_tuning.job",
        "id": job_id,
        "status": "running",
        "model": "gpt-4o-mini-2024-07-18",
        "created_at": created,
        "organization_id": "org-abc123",
        "training_file": "file-RCnFCYRhFDcq1aHxiYkBHw",
        "validation_file": "file-XjGxS3KTG0uNmNOK362iJua3",
        "hyperparameters": HYPERPARAMETERS,
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": HYPERPARAMETERS},
        },
        "metadata": {"team": "a", "run": str(number)},
        "user_provided_suffix": "clause-extractor",
        "seed": 1935755117,
        "trained_tokens": 12345,
    }
    return Observation(
        job_id=job_id,
        look=1,
        at=created + 60.0,
        raw=json.dumps(raw).encode(),
        entries=(entry,),
    )


def choice() -> Selection:
    """Return a choice with everything that the reactor says."""
    chosen = selection()
    candidates = [
        {
            "checkpoint_id": f"ftckpt-{step}",
            "step": step,
            "model": f"ft:gpt-4o-mini-2024-07-18:acme::abc:ckpt-step-{step}",
            "value": 0.9,
            "origin": "event",
        }
        for step in (100, 200, 300)
    ]
    data = {
        **chosen.data,
        "goal": "minimize",
        "reason": "full_valid_loss is lowest at step 200: 0.053, of 3 with a value.",
        "candidates": candidates,
        "previous": None,
    }
    return msgspec.structs.replace(chosen, data=data)


@asynccontextmanager
async def lateness(every: float = 0.001) -> AsyncIterator[Callable[[], float]]:
    """Lend the worst lateness of a timer of the event loop so far, in seconds."""
    worst = 0.0
    loop = asyncio.get_running_loop()

    async def watch() -> None:
        nonlocal worst
        while True:
            due = loop.time() + every
            await asyncio.sleep(every)
            worst = max(worst, loop.time() - due)

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch(), name="lateness")
        await asyncio.sleep(0)
        yield lambda: worst
        watching.cancel()
