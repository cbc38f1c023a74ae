"""Waiting for a time or for somebody, whichever comes first."""

from __future__ import annotations

import asyncio

from tunewatch.clock import Clock


async def sleep_or(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Return after so many seconds, or as soon as the event is set."""
    async with asyncio.TaskGroup() as tasks:
        timer = tasks.create_task(clock.sleep(seconds), name="timer")
        called = tasks.create_task(event.wait(), name="called")
        await asyncio.wait({timer, called}, return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        called.cancel()
