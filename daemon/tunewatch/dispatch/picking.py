"""Which deliveries go out next, and when: suspects first and alone, then all that may.

After an unclean end what was in flight goes out one at a time over all plugins of the
source, so that the next end tells which event it was. Pure but for the feeds.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunewatch.dispatch.feed import Feed, Flight

PATIENCE = 1.0
"""s that a suspect is out alone: what ends a process does so at once."""


def pick(feeds: Sequence[Feed], now: float) -> list[Flight]:
    """Return what may go out now; it counts as out from then on."""
    for feed in feeds:
        if feed.gate.is_deaf:
            feed.track.clear()
        feed.track.wake(now)
    _trust_the_slow(feeds, now)
    suspected = [feed for feed in feeds if feed.track.suspects]
    if suspected:
        if alone_until(feeds) is not None:
            return []
        for feed in suspected:
            if flight := feed.pick(now):
                return [flight]
    # A suspect that cannot go out now holds up nobody but its own plugin.
    picked: list[Flight] = []
    for feed in feeds:
        while not feed.track.suspects and (flight := feed.pick(now)):
            picked.append(flight)
    return picked


def alone_until(feeds: Sequence[Feed]) -> float | None:
    """Return the monotonic time until which the suspect that is out stays alone."""
    times = (flight.began + PATIENCE for flight in _suspects_out(feeds))
    return max(times, default=None)


def next_due(feeds: Sequence[Feed], now: float, *, latest: float) -> float:
    """Return the monotonic time when there may be something to do."""
    times = [latest]
    if (alone := alone_until(feeds)) is not None:
        times.append(alone)
    for feed in feeds:
        times.append(feed.track.next_due() or latest)
        if feed.track.has_ready:
            at = feed.gate.next_at()
            times.append(latest if at is None or at <= now else at)
    return min(times)


def is_busy(feeds: Sequence[Feed]) -> bool:
    """Whether anything is out, or could go out at once."""
    return any(
        feed.flights or (feed.track.has_ready and feed.gate.is_up) for feed in feeds
    )


def _trust_the_slow(feeds: Sequence[Feed], now: float) -> None:
    for flight in _suspects_out(feeds):
        if flight.began + PATIENCE <= now:
            flight.feed.track.clear_suspect(flight.lane.key)


def _suspects_out(feeds: Sequence[Feed]) -> list[Flight]:
    return [
        flight
        for feed in feeds
        if feed.track.suspects
        for flight in feed.flights.values()
        if flight.lane.key in feed.track.suspects
    ]
