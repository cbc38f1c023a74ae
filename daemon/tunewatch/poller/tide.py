"""When looks are committed: each at once, or those of many sources together.

A transaction costs about as much for one look as for several. Where many sources have
something to write all the time, their looks wait for each other for a moment. Knows
sources by number, and nothing of what they write.
"""

from __future__ import annotations

from tunewatch.clock import Clock

MANY = 16
"""Sources that write within `RECENTLY`, from which on their looks wait."""
RECENTLY = 1.0  #: s
EVERY = 0.1
"""s between the moments at which looks that wait are committed: far less than a poll
takes to come round."""


class Tide:
    """Shared by the sources of a process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrote: dict[int, float] = {}

    async def wait(self, source_id: int) -> None:
        """Return when a look of this source is to be committed."""
        now = self._clock.monotonic()
        self._wrote[source_id] = now
        if len(self._wrote) < MANY:
            return
        since = now - RECENTLY
        self._wrote = {one: at for one, at in self._wrote.items() if at > since}
        if len(self._wrote) >= MANY:
            await self._clock.sleep(EVERY - now % EVERY)
