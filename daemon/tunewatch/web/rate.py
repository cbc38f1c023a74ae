"""How many requests are answered: a bucket that fills up again.

Counts all requests together; knows no caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tunewatch.config.web_file import RateLimit


class Bucket:
    """Lets requests in at a rate, and some more at once."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._limit = RateLimit()
        self._left = 0.0
        self._at = 0.0

    def wait(self, limit: RateLimit) -> float:
        """Take a request in; return 0, or the seconds after which to ask again."""
        now = self._now()
        if limit is not self._limit:  # the file was read again
            self._limit, self._left, self._at = limit, float(limit.burst), now
        if limit.interval <= 0:
            return 0.0
        filled = self._left + (now - self._at) / limit.interval
        self._left, self._at = min(float(limit.burst), filled), now
        if self._left < 1:
            return (1 - self._left) * limit.interval
        self._left -= 1
        return 0.0
