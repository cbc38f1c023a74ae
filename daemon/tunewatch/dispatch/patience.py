"""How long to wait after a failure, and when to give up: the schedules, pure.

Knows neither plugins nor lanes; jitter comes in as a number in [0, 1).
"""

from __future__ import annotations

from typing import NamedTuple

LONGEST_WAIT = 86400.0
"""s: what a receiver may ask for with Retry-After."""
FIRST_PROBE = 5.0
"""s until the first probe of a receiver in trouble."""
LONGEST_PROBE = 60.0
"""s between probes at most, as long as the receiver does not ask for more."""
SHORTEST_WAIT = 1.0
"""s that a receiver's `Retry-After: 0` is taken for."""
CRASHES = 3
"""Ends of the process with one event out alone, until it becomes a dead letter."""


class Schedule(NamedTuple):
    """The waits between the tries of one event; one more try than waits."""

    waits: tuple[float, ...]

    @property
    def tries(self) -> int:
        """How often an event is tried."""
        return len(self.waits) + 1

    def wait(self, tries: int, after: float | None, jitter: float) -> float | None:
        """Return the wait after so many spent tries, None if it was the last one.

        `after` is what the receiver asked for: it is never undercut.
        """
        if tries >= self.tries:
            return None
        wait = self.waits[min(tries, len(self.waits)) - 1] * (1 + 0.1 * jitter)
        return max(wait, asked(after))


OF_THE_EVENT = Schedule((5.0, 30.0, 120.0, 600.0))
"""The receiver says that the event is at fault (400, 413, 415, 422): 5 tries."""

OF_ITS_OWN = Schedule((5.0, 30.0, 120.0, 300.0, 600.0, 600.0, 600.0, 900.0, 900.0))
"""5xx or an exception for this event while others are accepted: 10 tries, 67 min."""

ASKED_FOR = Schedule(())
"""A redelivery of an event that the receiver faults: one try. A person is at hand."""

ASKED_FOR_OF_ITS_OWN = Schedule((5.0, 30.0, 120.0))
"""5xx or an exception for a redelivery while others are accepted: 4 tries, 3 min."""


def asked(after: float | None) -> float:
    """Return the wait that a receiver asked for, in bounds; 0 if it did not."""
    # NaN compares false with everything: it asks for nothing.
    if after is None or not after >= 0:
        return 0.0
    return min(max(after, SHORTEST_WAIT), LONGEST_WAIT)


def probe_wait(failures: int, after: float | None, jitter: float) -> float:
    """Return the wait until the next probe after so many failures, from 1.

    5 s doubling to 60 s, spread by a fifth both ways; what the receiver asks for wins.
    """
    if wished := asked(after):
        return wished
    wait = min(FIRST_PROBE * 2.0 ** min(failures - 1, 10), LONGEST_PROBE)
    return wait * (0.8 + 0.4 * jitter)
