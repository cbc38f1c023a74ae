"""Jobs that move while something goes wrong: an API whose time is in our hands."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tunewatch.testing import ServedJob, SimulatedApi, SimulatedClock

TICK = 0.05
"""s between two steps of the API's time."""
_PAST = 4 * 3600.0


@dataclass(slots=True, kw_only=True)
class MovingJobs:
    """A number of jobs under way; whoever ends is followed by a new one."""

    api: SimulatedApi
    chance: random.Random
    at_once: int
    speed: float  #: simulated seconds in a real one
    projects: Sequence[str] = ("default",)
    url: str = ""
    jobs: list[ServedJob] = field(default_factory=list)
    is_closing: bool = False
    is_frozen: bool = False

    def add(self) -> ServedJob:
        """Add a job that begins now."""
        job = self.api.add_job(
            project=self.chance.choice(self.projects),
            steps=self.chance.randint(15, 30),
            epochs=self.chance.choice((1, 2, 3)),
            curve=self.chance.choice(("converge", "overfit", "noisy", "flat")),
            outcome=self.chance.choices(
                ("succeeded", "failed", "cancelled"), (8, 1, 1)
            )[0],
            validation=self.chance.random() < 0.8,
            validating=5.0,
            queueing=5.0,
            seconds_per_step=15.0,
        )
        self.jobs.append(job)
        return job

    def unfinished(self) -> list[ServedJob]:
        """Return the jobs that have not said everything yet."""
        now = self.api.clock.now()
        return [job for job in self.jobs if (job.settles_at or now) >= now]

    async def move(self) -> None:
        """Let time pass for ever, and new jobs begin until closing."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            if not self.is_frozen:
                self.api.clock.advance((now - before) * self.speed)
            before = now
            if not self.is_closing and len(self.unfinished()) < self.at_once:
                self.add()


@asynccontextmanager
async def moving_jobs(
    chance: random.Random,
    *,
    at_once: int = 8,
    speed: float = 25.0,
    keys: Mapping[str, str] | None = None,
) -> AsyncIterator[MovingJobs]:
    """Serve jobs that move until the block ends.

    With `keys`, project by key, the jobs are spread over these projects.
    """
    # In the past, so that nothing that is served lies ahead of our own clock.
    clock = SimulatedClock(start=time.time() - _PAST, scale=0)
    api = SimulatedApi(seed=chance.randrange(2**31), clock=clock)
    moving = MovingJobs(api=api, chance=chance, at_once=at_once, speed=speed)
    for key, project in (keys or {}).items():
        api.add_key(key, project=project)
    if keys:
        moving.projects = sorted(set(keys.values()))
    for _ in range(at_once // 2):
        moving.add()
    async with api.serve() as moving.url, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(moving.move(), name="moving jobs")
        try:
            yield moving
        finally:
            task.cancel()
