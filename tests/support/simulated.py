"""A simulated API on a clock that stands still, and the real client in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI

from tunewatch.testing import DEFAULT_KEY, SimulatedApi, SimulatedClock

START = 1_750_000_000


def still_api(**settings: Any) -> SimulatedApi:
    """Return an API whose time passes only when told."""
    return SimulatedApi(clock=SimulatedClock(start=START, scale=0), **settings)


@asynccontextmanager
async def client_of(
    api: SimulatedApi, *, key: str = DEFAULT_KEY, **settings: Any
) -> AsyncIterator[AsyncOpenAI]:
    """Serve the API and give the SDK's client of it, which never retries by itself."""
    options = {"max_retries": 0, "timeout": 5.0, **settings}
    async with (
        api.serve() as base_url,
        AsyncOpenAI(base_url=base_url, api_key=key, **options) as client,
    ):
        yield client
