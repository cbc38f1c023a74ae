"""One source's request budget: tokens that refill, a tenth of them for discovery.

Knows nothing of what the requests ask. In any window of a minute no more requests are
let through than configured: what may go out at once is taken off the refill.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal

from tunewatch.clock import Clock

Purpose = Literal["discovery", "look"]
BURST = 0.1
"""Share of a minute's requests that may go out at once."""
KEPT = 0.1
"""Share of the refill that only discovery may spend."""


SHORTEST = 0.001
"""s: a shorter wait would only spin over a rounding error."""


class Budget:
    """A token bucket with two compartments. Waiting is first come, first served.

    `rest` waits for so many seconds, or a little longer: by default the clock's sleep.
    """

    def __init__(
        self,
        requests_per_minute: float,
        clock: Clock,
        *,
        rest: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._clock = clock
        self._rest = clock.sleep if rest is None else rest
        self._burst = max(2.0, requests_per_minute * BURST)
        self._rate = max(requests_per_minute - self._burst, 0.5) / 60.0
        self._shared = self._burst - 1.0
        self._kept = 1.0
        self._filled_at = clock.monotonic()
        self._held_until = self._filled_at
        self._queues: dict[Purpose, deque[asyncio.Event]] = {
            "discovery": deque(),
            "look": deque(),
        }

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long: the provider asked for it."""
        until = self._clock.monotonic() + seconds
        self._held_until = max(self._held_until, until)

    @property
    def is_held(self) -> bool:
        """Whether the provider asked to be left alone for now."""
        return self._clock.monotonic() < self._held_until

    @property
    def has_room(self) -> bool:
        """Whether a look more would take nobody's turn and leave some for the next."""
        self._fill()
        return not self.is_held and not self.waiting and self._shared >= 2.0

    @property
    def waiting(self) -> int:
        """Return how many requests are waiting for a token."""
        return sum(len(queue) for queue in self._queues.values())

    async def take(self, purpose: Purpose) -> None:
        """Wait until a request may go out."""
        queue, turn = self._queues[purpose], asyncio.Event()
        queue.append(turn)
        try:
            if queue[0] is not turn:
                await turn.wait()
            while (wait := self._wait(purpose)) > 0.0:
                await self._rest(max(wait, SHORTEST))
            self._spend(purpose)
        finally:
            queue.remove(turn)
            if queue:
                queue[0].set()

    def _wait(self, purpose: Purpose) -> float:
        """Return the seconds until the purpose has a whole token, 0 if it has one."""
        self._fill()
        held = self._held_until - self._filled_at
        if held > 0:
            return held
        if purpose == "discovery":
            kept = (1.0 - self._kept) / (self._rate * KEPT)
            return max(0.0, min(kept, self._until_shared()))
        return max(0.0, self._until_shared())

    def _until_shared(self) -> float:
        return (1.0 - self._shared) / (self._rate * (1.0 - KEPT))

    def _fill(self) -> None:
        now = self._clock.monotonic()
        gained = (now - self._filled_at) * self._rate
        self._filled_at = now
        # Discovery's share fills first and what it does not need runs over, so that
        # together they never hold more than one burst.
        kept = min(1.0, self._kept + gained * KEPT)
        over = gained - (kept - self._kept)
        self._kept = kept
        self._shared = min(self._burst - self._kept, self._shared + over)

    def _spend(self, purpose: Purpose) -> None:
        if purpose == "discovery" and self._kept >= 1.0:
            self._kept -= 1.0
        else:
            self._shared -= 1.0
