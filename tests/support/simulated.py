"""A simulated API on a clock that stands still, and the real client in front of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
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


@contextmanager
def serving_in_thread(api: SimulatedApi) -> Iterator[str]:
    """Serve the API beside what blocks this thread; lend its address."""
    ready: Future[str] = Future()
    over = threading.Event()

    async def serve() -> None:
        async with api.serve() as base_url:
            ready.set_result(base_url)
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="api")
    thread.start()
    try:
        yield ready.result(timeout=10)
    finally:
        over.set()
        thread.join(timeout=10)
