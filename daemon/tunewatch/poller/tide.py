"""Moments at which many sources do together what each would do alone a little earlier.

A transaction costs about as much for one look as for several, and so does waking up for
one request. Where many sources have something to do all the time, they wait for each
other for a moment. Knows sources by number, and nothing of what they ask or write.
"""

from __future__ import annotations

import asyncio
from math import floor

from tunewatch.clock import Clock

MANY = 16
"""Sources that write within `RECENTLY`, from which on they wait for each other."""
RECENTLY = 1.0  #: s
EVERY = 0.25
"""s between two such moments: far less than a poll takes to come round."""


class Tide:
    """Shared by the sources of a process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrote: dict[int, float] = {}
        self._sift_at = 0.0
        self._turns: dict[int, asyncio.Event] = {}

    async def wait(self, source_id: int) -> None:
        """Return when a look of this source is to be committed."""
        now = self._clock.monotonic()
        self._wrote[source_id] = now
        if self._are_many(now):
            await self._turn_after(now)

    async def rest(self, seconds: float) -> None:
        """Wait for so long, and for the others then."""
        now = self._clock.monotonic()
        if self._are_many(now):
            await self._turn_after(now + seconds)
        else:
            await self._clock.sleep(seconds)

    def _are_many(self, now: float) -> bool:
        if len(self._wrote) >= MANY and now >= self._sift_at:
            self._sift_at = now + EVERY
            since = now - RECENTLY
            self._wrote = {one: at for one, at in self._wrote.items() if at > since}
        return len(self._wrote) >= MANY

    async def _turn_after(self, moment: float) -> None:
        """Wait for the first turn after a monotonic time, or for less."""
        number = floor(moment / EVERY) + 1
        turn = self._turns.get(number)
        if turn is not None:
            await turn.wait()
            return
        # Whoever is first sleeps for all; if it is called off, none is forgotten.
        turn = self._turns[number] = asyncio.Event()
        try:
            await self._clock.sleep(number * EVERY - self._clock.monotonic())
        finally:
            del self._turns[number]
            turn.set()
