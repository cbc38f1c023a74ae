"""The store as a dispatcher needs it: what cannot be written now is written later.

Holds on to one transaction until it is in the store: nothing is acknowledged that could
not be written, and nothing goes out meanwhile. Knows no lane and no plugin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from tunewatch.clock import Clock
from tunewatch.store.carrier import Carrier
from tunewatch.store.records import StoreUnavailable

T = TypeVar("T")
_log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2
"""s until the second try."""
LONGEST_PAUSE = 2.0
"""s between tries at most: all resumes within seconds after the store is back."""


class Ledger:
    """Writes and reads with patience. `until` ends it: a monotonic time, once set."""

    def __init__(
        self,
        carrier: Carrier,
        *,
        source: str,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self.until: float | None = None
        self.paused_reason: str | None = None
        self.doubts = 0  #: writes whose outcome was unknown for a while
        self._waiting = 0  # how many wait
        self._carrier = carrier
        self._source = source
        self._clock = clock
        self._jitter = jitter

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

        return await self._patiently(once)

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Read, as often as it takes. Raises as `write` does."""
        return await self._patiently(lambda _again: self._carrier.read(fn))

    async def _patiently(self, once: Callable[[bool], Awaitable[T]]) -> T:
        pause, tries = FIRST_PAUSE, 0
        try:
            while True:
                try:
                    done = await once(tries > 0)
                    break
                except StoreUnavailable as fault:
                    tries += 1
                    self._waiting += tries == 1
                    await self._hold(fault, pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            self._waiting -= tries > 0
        # A full disk is read, and takes what is small: others wait on.
        if not self._waiting:
            self._go_on()
        return done

    async def _hold(self, fault: StoreUnavailable, pause: float) -> None:
        if self.paused_reason is None:
            _log.warning("dispatch.paused", source=self._source, reason=fault.reason)
        self.paused_reason = fault.reason
        if self.until is not None and self._clock.monotonic() >= self.until:
            raise fault
        await self._clock.sleep(pause * (0.75 + 0.5 * self._jitter()))

    def _go_on(self) -> None:
        if self.paused_reason is not None:
            _log.info("dispatch.resumed", source=self._source)
            self.paused_reason = None
