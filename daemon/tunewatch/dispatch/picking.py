"""Which deliveries go out next: suspects first and alone, then whatever may.

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
