"""`run --once`: when there is nothing more to do, and whether all went well."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tunewatch.app.lives import Lives
from tunewatch.app.organizations import Organization
from tunewatch.app.terms import SourceLife
from tunewatch.clock import Clock

LOOK_AGAIN = 0.2
"""s between looks at whether all is done."""
FAILURES = 2
"""Failures of the list in a row after which a source is given up."""
UNREACHABLE = 69
"""The exit code if a source failed."""


async def until_done(
    lives: Lives,
    organizations: Iterable[Organization] = (),
    *,
    stop: asyncio.Event,
    clock: Clock,
) -> int:
    """Wait until all due work is done, or `stop`; return the exit code."""
    while not stop.is_set():
        polled = all(is_done(life) for life in lives.sources.values())
        if polled and all(orphan.is_idle for orphan in lives.orphans.values()):
            break
        await clock.sleep(LOOK_AGAIN)
    failed = any(has_failed(life) for life in lives.sources.values())
    failed = failed or any(one.has_failed for one in organizations)
    return UNREACHABLE if failed or have_died(lives) else 0


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
    return poller is not None and poller.trouble.failures >= FAILURES


def have_died(lives: Lives) -> bool:
    """Whether a source is not even there, for `run --once`."""
    return any(state.state == "down" for state in lives.absent.values())
