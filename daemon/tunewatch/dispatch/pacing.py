"""How fast and how many: a rate that no second exceeds, and a ramp after trouble.

Pure: the time comes in as an argument.
"""

from __future__ import annotations

_MARGIN = 1.02
"""Sends are spaced a little wider than the rate asks: the loop's jitter moves them."""
_BURST = 0.03
"""Part of a second's worth that may go out at once, after a pause."""


class Rate:
    """So many a second, evenly; None is without bounds."""

    def __init__(self, rate: float | None) -> None:
        self._spacing = _MARGIN / rate if rate else 0.0
        # A pause lends no more than the burst.
        self._lent = max(0.0, _BURST - self._spacing)
        self._next_at = 0.0

    def is_free(self, now: float) -> bool:
        """Whether one may go out."""
        return not self._spacing or now >= self._next_at

    def spend(self, now: float) -> None:
        """Note that one went out."""
        if self._spacing:
            self._next_at = max(self._next_at, now - self._lent) + self._spacing

    def next_at(self) -> float | None:
        """Return the monotonic time when the next one may, None: at any time."""
        return self._next_at if self._spacing else None


class Ramp:
    """As many at once as `limit` allows; after trouble 1, 2, 4 … by successes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._level: int | None = None
        self._accepted = 0

    @property
    def limit(self) -> int:
        """How many may be out now."""
        return self._limit if self._level is None else min(self._limit, self._level)

    def begin(self) -> None:
        """Go down to one at a time."""
        self._level, self._accepted = 1, 0

    def climb(self) -> None:
        """Note a success: after as many as may be out, twice as many may."""
        if self._level is None:
            return
        self._accepted += 1
        if self._accepted < self._level:
            return
        self._level, self._accepted = self._level * 2, 0
        if self._level >= self._limit:
            self._level = None
