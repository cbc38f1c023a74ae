"""The store as a dispatcher needs it: what cannot be written now is written later.

Holds on to one transaction until it is in the store: nothing is acknowledged that could
not be written, and nothing goes out meanwhile. Knows no lane and no plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from tunewatch.clock import Clock
from tunewatch.store.carrier import Carrier
from tunewatch.store.persevering import Persevering
from tunewatch.store.records import StoreUnavailable

T = TypeVar("T")
_log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2
"""s until the second try."""
LONGEST_PAUSE = 2.0
"""s between tries at most: all resumes within seconds after the store is back."""


class Ledger:
    """Writes and reads with patience."""

    def __init__(
        self,
        carrier: Carrier,
        *,
        source: str,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self.doubts = 0  #: writes whose outcome was unknown for a while
        self._carrier = carrier
        self._store = Persevering(
            first=FIRST_PAUSE,
            longest=LONGEST_PAUSE,
            clock=clock,
            jitter=jitter,
            paused=lambda why: _log.warning(
                "dispatch.paused", source=source, reason=why
            ),
            resumed=lambda: _log.info("dispatch.resumed", source=source),
        )

    @property
    def paused_reason(self) -> str | None:
        """Why nothing goes out."""
        return self._store.reason

    def end(self, moment: float) -> None:
        """Wait for the store no longer than until a monotonic time."""
        self._store.until = moment

    async def write(
        self,
        attempt: Callable[[bool], Callable[[Connection], T]],
        *,
        committed: Callable[[T], None] | None = None,
        beside: bool = False,
    ) -> T:
        """Write what `attempt(again)` makes, as often as it takes.

        `beside` as in `Carrier.write`. `again` is true if an earlier try may have been
        committed. Raises LeaseLost, StoreBroken, StoreUnusable; StoreUnavailable only
        when time is up.
        """

        async def once(again: bool) -> T:
            try:
                return await self._carrier.write(
                    attempt(again), committed=committed, beside=beside
                )
            except StoreUnavailable:
                self.doubts += 1
                raise

        return await self._store.insist(once)

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Read, as often as it takes. Raises as `write` does."""
        return await self._store.insist(lambda _again: self._carrier.read(fn))
