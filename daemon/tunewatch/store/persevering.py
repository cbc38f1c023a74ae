"""What the store does not take or give now, it takes or gives later.

While it is unavailable (disk full, database away) whoever needs it waits, so that work
pauses by itself and goes on by itself. Knows no transaction, and not who waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tunewatch.clock import Clock
from tunewatch.store.records import StoreUnavailable

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Persevering:
    """Tries again, for everybody who shares it, and says once that somebody waits."""

    first: float  #: s until the second try; the next ones wait twice as long
    longest: float  #: s between tries at most
    clock: Clock
    jitter: Callable[[], float]  #: in [0, 1)
    paused: Callable[[str], None]  #: called with the reason when waiting begins
    resumed: Callable[[], None]  #: called when nobody waits any more
    until: float | None = None  #: monotonic: nobody waits longer than that
    reason: str | None = None  #: why somebody waits
    _waiting: int = 0  #: how many wait

    async def insist(self, once: Callable[[bool], Awaitable[T]]) -> T:
        """Return what `once(again)` does, as soon as the store is available.

        Raises StoreUnavailable when time is up, and whatever else `once` raises.
        """
        tries = 0
        try:
            while True:
                try:
                    done = await once(tries > 0)
                    break
                except StoreUnavailable as fault:
                    tries += 1
                    self._waiting += tries == 1
                    await self._wait(fault, tries)
        finally:
            self._waiting -= tries > 0
        # A disk that is nearly full is read, and takes what is small: others wait on.
        if not self._waiting and self.reason is not None:
            self.reason = None
            self.resumed()
        return done

    async def _wait(self, fault: StoreUnavailable, tries: int) -> None:
        if self.reason is None:
            self.paused(fault.reason)
        self.reason = fault.reason
        if self.until is not None and self.clock.monotonic() >= self.until:
            raise fault
        ceiling = min(self.longest, self.first * 2.0 ** min(tries - 1, 10))
        await self.clock.sleep(ceiling * (0.5 + self.jitter() / 2))
