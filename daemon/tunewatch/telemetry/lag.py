"""How late the event loop is: what one blocking call does to everyone.

Knows no loop by name but the one it runs on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NoReturn

EVERY = 0.25
"""s between two looks."""
WINDOW = 60.0
"""s that the worst lag stays visible: a scrape must not miss it."""


class LoopLag:
    """The worst lag of the last minute, in seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()  # (when, lag), lags falling
        self._worst = 0.0

    def noted(self, now: float, lag: float) -> None:
        """Take one measurement; `now` is the loop's time."""
        while self._seen and self._seen[-1][1] <= lag:
            self._seen.pop()
        self._seen.append((now, lag))
        while self._seen[0][0] < now - WINDOW:
            self._seen.popleft()
        self._worst = self._seen[0][1]

    def worst(self) -> float:
        """Return the worst lag in the window. May be asked in any thread."""
        return self._worst

    async def watch(self, every: float = EVERY) -> NoReturn:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + every
            await asyncio.sleep(every)
            now = loop.time()
            self.noted(now, max(0.0, now - due))
