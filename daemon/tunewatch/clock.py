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


class Alarm:
    """What one loop rests by: it is rung, or a time comes.

    A task for each rest would cost more than most of what such a loop does. So the
    sleeper of an earlier rest sleeps on if it wakes in time; if it wakes too early, the
    loop has one look too many.
    """

    def __init__(self, clock: Clock, *, name: str) -> None:
        self._clock = clock
        self._name = name
        self._rung = asyncio.Event()
        self._sleeper: asyncio.Task[None] | None = None
        self._until = 0.0

    @property
    def has_rung(self) -> bool:
        """Whether there may be something to do, since it was last set."""
        return self._rung.is_set()

    def ring(self) -> None:
        """Wake whoever rests, or will."""
        self._rung.set()

    def set_anew(self) -> None:
        """Forget that it rang: what it rang for is looked at from here on."""
        self._rung.clear()

    async def rest(self, until: float, tasks: asyncio.TaskGroup) -> None:
        """Wait until it rings, at a monotonic time or before it by itself.

        Whoever rests no more has to `stop` it, or its group waits for the sleeper.
        """
        if self._sleeper is None or self._sleeper.done() or until < self._until:
            self.stop()
            self._until = until
            self._sleeper = tasks.create_task(self._ring_at(until), name=self._name)
        await self._rung.wait()

    def stop(self) -> None:
        """Ring by itself no more."""
        if self._sleeper is not None:
            self._sleeper.cancel()
            self._sleeper = None

    async def _ring_at(self, until: float) -> None:
        await self._clock.sleep(until - self._clock.monotonic())
        self.ring()


async def sleep_or(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Return after so many seconds, or as soon as the event is set."""
    async with asyncio.TaskGroup() as tasks:
        timer = tasks.create_task(clock.sleep(seconds), name="timer")
        called = tasks.create_task(event.wait(), name="called")
        await asyncio.wait({timer, called}, return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        called.cancel()
