"""What telemetry is told of polling, as it happens."""

from __future__ import annotations

from typing import Protocol


class PollObserver(Protocol):
    """Counts. Every call returns at once and never raises."""

    def polled(
        self, source: str, *, phase: str, seconds: float, fault: str | None
    ) -> None:
        """Note one poll: `phase` is discovery or look, `fault` the fault's class."""
        ...

    def watching(
        self, source: str, *, tracked: int, interval: float, is_up: bool
    ) -> None:
        """Note how many jobs are under watch and how often the list is read (s)."""
        ...


class Unobserved:
    """Counts nothing."""

    def polled(
        self, source: str, *, phase: str, seconds: float, fault: str | None
    ) -> None:
        """See `PollObserver`."""

    def watching(
        self, source: str, *, tracked: int, interval: float, is_up: bool
    ) -> None:
        """See `PollObserver`."""
