"""`run --once`: when there is nothing more to do, and whether all went well."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tunewatch.app.orphans import OrphanLife
from tunewatch.app.terms import SourceLife
from tunewatch.clock import Clock

LOOK_AGAIN = 0.2
"""s between looks at whether all is done."""
FAILURES = 2
"""Failures of the list in a row after which a source is given up."""
UNREACHABLE = 69
"""The exit code if a source failed."""


async def until_done(
    lives: Sequence[SourceLife],
    orphans: Sequence[OrphanLife],
    *,
    stop: asyncio.Event,
    clock: Clock,
) -> int:
    """Wait until all due work is done, or `stop`; return the exit code."""
    while not stop.is_set():
        polled = all(is_done(life) for life in lives)
        if polled and all(orphan.is_idle for orphan in orphans):
            break
        await clock.sleep(LOOK_AGAIN)
    return UNREACHABLE if any(has_failed(life) for life in lives) else 0


def is_done(life: SourceLife) -> bool:
    """Whether a source has nothing more to do for `run --once`."""
    if has_failed(life):
        return True
    poller, dispatcher = life.poller, life.dispatcher
    return (
        poller is not None
        and dispatcher is not None
        and poller.is_caught_up.is_set()
        and dispatcher.idle.is_set()
    )


def has_failed(life: SourceLife) -> bool:
    """Whether a source does not answer, for `run --once`."""
    poller = life.poller
    return life.died is not None or (
        poller is not None and poller.trouble.failures >= FAILURES
    )
