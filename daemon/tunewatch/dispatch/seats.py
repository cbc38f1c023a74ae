"""The dispatchers at one gate: who sits there, and who waits for a turn.

First come, first served among those who found no room; who wants nothing more steps
back. Knows neither plugin nor clock: how much room there is, it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Seat:
    """One dispatcher's place at a gate."""

    wake: Callable[[], None]
    waiting_lanes: Callable[[], int] = lambda: 0


class Seats:
    """See the module."""

    def __init__(self) -> None:
        self._seats: list[Seat] = []
        self._queue: list[Seat] = []
        self.deserted = asyncio.Event()  #: while nobody sits there
        self.deserted.set()

    @property
    def waiting_lanes(self) -> int:
        """How many lanes wait, over all seats."""
        return sum(seat.waiting_lanes() for seat in self._seats)

    def join(self, seat: Seat) -> None:
        """Seat a dispatcher."""
        self._seats.append(seat)
        self.deserted.clear()

    def leave(self, seat: Seat) -> None:
        """Unseat a dispatcher."""
        self._seats.remove(seat)
        self.content(seat)
        if not self._seats:
            self.deserted.set()

    def content(self, seat: Seat) -> None:
        """Note that a dispatcher wants nothing more for now: others need not wait."""
        if seat in self._queue:
            self._queue.remove(seat)
            self.wake_queue()

    def take_turn(self, seat: Seat, *, free: int) -> bool:
        """Whether there is room now, for this one before those who wait longer.

        If not it is remembered who asked.
        """
        queue = self._queue
        ahead = queue.index(seat) if seat in queue else len(queue)
        if free > ahead:
            if seat in queue:
                queue.remove(seat)
            return True
        if seat not in queue:
            queue.append(seat)
        return False

    def wake_queue(self) -> None:
        """Wake those who found no room."""
        for seat in self._queue:
            seat.wake()

    def wake_all(self) -> None:
        """Wake everybody."""
        for seat in self._seats:
            seat.wake()
