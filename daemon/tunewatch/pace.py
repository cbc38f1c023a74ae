"""When to look again: status, age and failures -> seconds. Jitter is passed in.

Pure: knows no clock and does not wait. Every interval of the poller comes from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunewatch.model import JobStatus

Jitter = Callable[[], float]
"""Returns a number in [0, 1), drawn anew at each call."""

LONGEST_BACK_OFF = 300.0
"""s: failures double the interval up to this."""
REFUSED_AGAIN = 60.0
"""s: a refused key is tried no more often, unless the key changes."""
UNKNOWN_AFTER = 86_400.0
"""s: a job that says the same unknown word for so long moves to the slow lane."""
SLOW_LANE = 86_400.0
"""s between full looks in the slow lane."""
FILE_PATIENCE = 600.0
"""s that a missing or refused result file may hold up settling."""
FILE_AGAIN = 3600.0
"""s between tries of a late result file."""
FILE_GIVEN_UP = 86_400.0
"""s after which a late result file is given up."""
REMOVED_TIMES = 3
"""Answers "no such job" before a job counts as removed …"""
REMOVED_AFTER = 900.0
"""… and s over which they must be spread."""
FULL_WALK = 86_400.0
"""s between complete walks of the job list."""
FULL_WALK_AGAIN = 900.0
"""s after which one that broke off is tried again."""
CHECKPOINTS_EVERY = 10
"""Looks between lists of checkpoints while nothing moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """A source's intervals as configured, in seconds."""

    poll_interval: float = 15.0
    idle_interval: float = 60.0
    settle_window: float = 90.0


def jittered(seconds: float, jitter: Jitter) -> float:
    """Return about that many seconds, a tenth either way, so that nothing marches."""
    return seconds * (0.9 + 0.2 * jitter())


def until_walk(listed_at: float | None, now: float, jitter: Jitter) -> float:
    """Return the seconds until the next complete walk of a list, at a start.

    What is left of a day since the last one, never more than a day whatever the wall
    clock says; without one somewhere in the day, so that sources spread out.
    """
    if listed_at is None:
        return FULL_WALK * (0.1 + 0.9 * jitter())
    return min(FULL_WALK, max(0.0, listed_at + jittered(FULL_WALK, jitter) - now))


def discovery(rates: Rates, *, active: bool) -> float:
    """Return the seconds between two reads of the newest page."""
    return rates.poll_interval if active else rates.idle_interval


def look(rates: Rates, status: JobStatus, *, unchanged_for: float) -> float:
    """Return the seconds between two looks at a job that is not settled."""
    if status.is_terminal:
        return max(rates.poll_interval, rates.settle_window / 3)
    if status is JobStatus.UNKNOWN and unchanged_for >= UNKNOWN_AFTER:
        return SLOW_LANE
    if status.is_waiting:
        return 2 * rates.poll_interval
    return rates.poll_interval


def back_off(interval: float, failures: int, jitter: Jitter) -> float:
    """Return how long to wait after so many failures in a row: full jitter.

    Never below half the interval, so that a string of low draws does not hammer.
    """
    longest = max(LONGEST_BACK_OFF, interval)
    ceiling = min(longest, interval * 2.0 ** min(failures, 20))
    return max(interval / 2, ceiling * jitter())


def pages_to_read(ranks: list[int], page_size: int) -> int:
    """Return how many further pages to read so that the fewest requests are made.

    `ranks` are the places in the list (from 0) of the jobs that the newest page does
    not show. Reading p further pages covers the first p + 1 pages; each job beyond is
    retrieved by itself.
    """
    best, cheapest = 0, len(ranks)
    for covered, rank in enumerate(sorted(ranks), start=1):
        pages = rank // page_size
        cost = pages + len(ranks) - covered
        if cost < cheapest:
            best, cheapest = pages, cost
    return best
