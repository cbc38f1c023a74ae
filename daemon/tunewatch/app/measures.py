"""What the parts tell about their work, handed on to telemetry.

Implements the observers of sources, poller and dispatch, and remembers by how much our
clock is off the providers', which decides whether old things may be given up.
"""

from __future__ import annotations

from tunewatch.sources.contract import Call
from tunewatch.telemetry import Loss, Telemetry

AGREES = 300.0
"""s that our clock may be off a provider's Date header."""


class Measures:
    """The daemon's measurements of itself."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._offsets: dict[str, float] = {}

    def clock_agrees(self) -> bool:
        """Whether our clock is known to be about right: some provider said so."""
        offsets = self._offsets.values()
        return bool(offsets) and all(abs(offset) <= AGREES for offset in offsets)

    # Sources

    def called(self, source: str, call: Call) -> None:
        """Take in one request to a provider."""
        self._telemetry.observe_call(source, call)
        if call.clock_offset is not None:
            self._offsets[source] = call.clock_offset

    def lease_held(self, source: str, *, held: bool) -> None:
        """Take in whether a source lives here."""
        self._telemetry.lease_held(source, held=held)

    def lease_lost(self, source: str, how: Loss) -> None:
        """Take in that a lease was lost, not given back."""
        self._telemetry.lease_lost(source, how)

    # Polling

    def polled(
        self, source: str, *, phase: str, seconds: float, fault: str | None
    ) -> None:
        """See `poller.observer.PollObserver`."""
        self._telemetry.poll_finished(source, phase, seconds, fault=fault)

    def watching(
        self,
        source: str,
        *,
        tracked: int,
        interval: float,
        is_up: bool,  # noqa: ARG002 - the polls themselves tell
    ) -> None:
        """See `poller.observer.PollObserver`."""
        self._telemetry.jobs_tracked(source, tracked)
        self._telemetry.poll_interval(source, interval)

    # Dispatch

    def attempted(
        self, plugin: str, *, source: str, attempt: int, outcome: str, seconds: float
    ) -> None:
        """See `dispatch.observer.Observer`."""
        self._telemetry.attempted(
            plugin, source=source, attempt=attempt, outcome=outcome, seconds=seconds
        )

    def delivered(self, plugin: str, *, source: str, dwell: float) -> None:
        """See `dispatch.observer.Observer`."""
        self._telemetry.delivered(plugin, source=source, dwell=dwell)

    def buried(self, plugin: str, *, source: str, reason: str) -> None:
        """See `dispatch.observer.Observer`."""
        self._telemetry.buried(plugin, source=source, reason=reason)
