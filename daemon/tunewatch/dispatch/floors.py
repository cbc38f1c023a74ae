"""The lowest of many numbers that change: a heap that forgets what is old, lazily."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable


class Floors:
    """Floors by key. A raised floor is pushed again; the old one is dropped later."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._enough = 64

    def push(
        self, key: int, floor: int, everything: Callable[[], Iterable[tuple[int, int]]]
    ) -> None:
        """Note a floor. `everything` gives all current (floor, key), if needed.

        Behind one low floor the others leave entries that never come to the top: they
        are thrown out before they outnumber the living.
        """
        heapq.heappush(self._heap, (floor, key))
        if len(self._heap) > self._enough:
            self._heap = list(everything())
            heapq.heapify(self._heap)
            self._enough = 2 * len(self._heap) + 64

    def lowest(self, current: Callable[[int], int | None]) -> int | None:
        """Return the lowest floor; `current` gives a key's, None if it is gone."""
        while self._heap:
            floor, key = self._heap[0]
            if current(key) == floor:
                return floor
            heapq.heappop(self._heap)
        return None

    def __len__(self) -> int:
        return len(self._heap)
