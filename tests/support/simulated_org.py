"""Simulated APIs for whole daemons: keys, and jobs that take seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tunewatch.testing import SimulatedApi

SPEED = 300.0
"""Simulated seconds in a real one: a job of 10 steps is over in about two."""


@asynccontextmanager
async def simulated(*keys: str) -> AsyncIterator[tuple[SimulatedApi, str]]:
    """Serve an API on which each key opens a project of its own; lend its URL."""
    api = SimulatedApi(time_scale=SPEED)
    for number, key in enumerate(keys):
        api.add_key(key, project=f"project-{number}")
    async with api.serve() as url:
        yield api, url
