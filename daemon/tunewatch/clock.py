"""Time as a thing that is handed in, so that tests can own it.

Windows and waits count on the monotonic clock, which goes on while the machine sleeps;
the wall clock only dates things. Nothing here decides how long to wait.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A wall clock, a clock that never steps, and a way to wait."""

    def now(self) -> float:
        """Return unix seconds of the wall clock."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never steps and does not stop in sleep."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Return unix seconds of the wall clock."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since boot, time asleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(max(0.0, seconds))


class FastClock:
    """Time that runs `speed` times as fast: hours of waiting in seconds, for tests.

    It begins when it is made, at the time it is then. With `began` on the machine's
    monotonic clock, and `epoch` in unix seconds, it is the same in several processes.
    """

    def __init__(
        self, speed: float, *, began: float | None = None, epoch: float | None = None
    ) -> None:
        self.speed = speed
        self.began = time.monotonic() if began is None else began
        self.epoch = time.time() if epoch is None else epoch

    def now(self) -> float:
        """Return unix seconds, running ahead since it began."""
        return self.epoch + self.monotonic()

    def monotonic(self) -> float:
        """Return seconds since it began, `speed` for each real one."""
        return (time.monotonic() - self.began) * self.speed

    async def sleep(self, seconds: float) -> None:
        """Wait for that many of its own seconds."""
        await asyncio.sleep(max(0.0, seconds) / self.speed)


async def sleep_or(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Return after so many seconds, or as soon as the event is set."""
    async with asyncio.TaskGroup() as tasks:
        timer = tasks.create_task(clock.sleep(seconds), name="timer")
        called = tasks.create_task(event.wait(), name="called")
        await asyncio.wait({timer, called}, return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        called.cancel()
