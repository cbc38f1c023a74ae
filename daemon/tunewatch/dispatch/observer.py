"""What telemetry is told of deliveries, as it happens."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Counts. Every call returns at once and never raises."""

    def attempted(
        self, plugin: str, *, source: str, attempt: int, outcome: str, seconds: float
    ) -> None:
        """Note one call of a plugin, from 1, and what it came to.

        `outcome` is one of accepted, receiver, timeout, exception, event, rejected,
        paused.
        """
        ...

    def delivered(self, plugin: str, *, source: str, dwell: float) -> None:
        """Note an event that was accepted, `dwell` seconds after its commit."""
        ...

    def buried(self, plugin: str, *, source: str, reason: str) -> None:
        """Note a dead letter. `reason` is rejected, tries, age or crash."""
        ...


class Unobserved:
    """Counts nothing."""

    def attempted(
        self, plugin: str, *, source: str, attempt: int, outcome: str, seconds: float
    ) -> None:
        """See `Observer`."""

    def delivered(self, plugin: str, *, source: str, dwell: float) -> None:
        """See `Observer`."""

    def buried(self, plugin: str, *, source: str, reason: str) -> None:
        """See `Observer`."""
