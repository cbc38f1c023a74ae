"""Eternal loops: one that returns or dies is a fault that restarts or ends it.

Knows no loop by what it does. Faults of the store that nobody can wait out are let
through: they end the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from tunewatch import pace
from tunewatch.clock import Clock
from tunewatch.store.records import StoreBroken, StoreUnavailable, StoreUnusable
from tunewatch.unbidden import endless, unbroken

FIRST_WAIT = 1.0
"""s before a loop is restarted for the first time, doubling to five minutes."""
STEADY = 60.0
"""s after which a loop that dies counts as having run well."""
STORE_AGAIN = 2.0
"""s before a loop that the store failed is restarted, as a rule: it is no fault of the
loop, and how long a database is away says nothing about when it is back."""

_log = structlog.get_logger(__name__)


async def eternal(name: str, loop: Callable[[], Awaitable[object]]) -> NoReturn:
    """Run a core loop: if it ends, for whatever reason, so does the process."""
    try:
        await endless(f"the loop {name}", loop())
    except Exception as error:
        if _fatal(error) is None:  # else it is the store's end, not the loop's
            _log.error("loop.died", loop=name, reason=_reason(error), exc_info=error)
        raise


async def restarted(
    name: str,
    loop: Callable[[], Awaitable[object]],
    *,
    stop: asyncio.Event,
    clock: Clock,
    jitter: pace.Jitter,
    died: Callable[[str | None], None],
    counted: Callable[[], object] = lambda: None,
) -> None:
    """Run a loop over and over until it ends after `stop`.

    `died` is told why it does not run, in words for a person, and None when it runs.
    `counted` is called at each death, not while the store is away.

    Raises StoreBroken and StoreUnusable: no restart helps them.
    """
    failures = 0
    is_waiting = False
    while not stop.is_set():
        began = clock.monotonic()
        died(None)
        try:
            await unbroken(f"the loop {name}", loop())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and ends here
            fatal = _fatal(error)
            if fatal is not None:
                raise fatal from None
            away = _store_away(error)
            if away is not None:
                if not is_waiting:
                    _log.warning("loop.waits_for_store", loop=name, reason=away.reason)
                is_waiting = True
                died(f"it waits for the store: {away.reason}")
                await clock.sleep(pace.jittered(STORE_AGAIN, jitter))
                continue
            reason = _reason(error)
            _log.error("loop.died", loop=name, reason=reason, exc_info=error)
            died(f"its loop died: {reason}")
            counted()
        else:
            failures = 0
            is_waiting = False
            continue
        is_waiting = False
        failures = 1 if clock.monotonic() - began > STEADY else failures + 1
        await clock.sleep(pace.back_off(FIRST_WAIT, failures, jitter))


def _fatal(error: BaseException) -> Exception | None:
    if isinstance(error, StoreBroken | StoreUnusable):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = (_fatal(inner) for inner in error.exceptions)
        return next((one for one in found if one is not None), None)
    return None


def _store_away(error: BaseException) -> StoreUnavailable | None:
    """Return why the store failed the loop, if nothing else did."""
    if isinstance(error, StoreUnavailable):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [_store_away(inner) for inner in error.exceptions]
        return None if None in found else found[0]
    return None


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return type(error).__name__
