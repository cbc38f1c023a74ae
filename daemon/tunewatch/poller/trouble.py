"""Whether a source answers: when it went down, when to ask again, said once each.

A refused key is asked again once a minute, or at once when the key changes; anything
else backs off from the interval, doubling to five minutes. The list is the probe.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from tunewatch import pace
from tunewatch.sources.contract import Refused, SourceFault, Unavailable

DOWN_AFTER = 120.0
"""s without an answer after which a source counts as down."""
MANY = 3
"""Looks that failed in a row before all looks wait for the list."""


@dataclass(slots=True, kw_only=True)
class Trouble:
    """The state of one source's answers."""

    log: FilteringBoundLogger
    poll_interval: float
    jitter: pace.Jitter
    is_told_down: bool = False
    reason: str | None = None
    since: float | None = None  #: monotonic, of the first failure in a row
    since_wall: float = 0.0  #: unix seconds of the same
    refused: bool = False
    failures: int = 0  #: of the list, in a row
    look_failures: int = 0  #: of looks, in a row
    last_success: float | None = field(default=None)

    @property
    def is_on(self) -> bool:
        """Whether looks should wait for the list to answer again."""
        return self.failures > 0 or self.look_failures >= MANY

    def list_failed(self, fault: SourceFault, now: float, wall: float) -> float:
        """Note that the list failed; return the seconds until it is asked again."""
        self.failures += 1
        self.refused = isinstance(fault, Refused)
        if self.since is None:
            self.since, self.since_wall = now, wall
            self.log.warning("source.trouble", reason=fault.reason)
        self.reason = fault.reason
        if self.refused:
            return pace.REFUSED_AGAIN if self.failures > 1 else self.poll_interval
        wait = pace.back_off(self.poll_interval, self.failures, self.jitter)
        after = fault.after if isinstance(fault, Unavailable) else None
        return max(wait, after or 0.0)

    def list_answered(self, now: float) -> None:
        """Note that the list answered."""
        if self.since is not None:
            self.log.info("source.answers_again", after=round(now - self.since, 3))
        self.failures = self.look_failures = 0
        self.since = self.reason = None
        self.refused = False
        self.last_success = now

    def is_down(self, now: float) -> bool:
        """Whether it is time to tell people: refused twice, or away for a while."""
        if self.since is None:
            return False
        if self.refused:
            return self.failures > 1
        return now - self.since >= max(DOWN_AFTER, 4 * self.poll_interval)
