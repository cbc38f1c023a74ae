"""What a dispatcher rests by: it is woken, or a time comes.

Knows a clock, and not what there is to do.
"""

from __future__ import annotations

import asyncio

from tunewatch.clock import Clock


class Alarm:
    """See the module."""

    def __init__(self, clock: Clock, *, source: str) -> None:
        self._clock = clock
        self._source = source
        self._rung = asyncio.Event()

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

    async def rest(self, until: float) -> None:
        """Wait until it rings, at a monotonic time by itself."""
        async with asyncio.TaskGroup() as nap:
            alarm = nap.create_task(
                self._ring_at(until), name=f"dispatch.alarm:{self._source}"
            )
            await self._rung.wait()
            alarm.cancel()

    async def _ring_at(self, until: float) -> None:
        await self._clock.sleep(until - self._clock.monotonic())
        self.ring()
