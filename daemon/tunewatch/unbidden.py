"""Ends that nobody asked for, as the errors they are.

A task group drops a task that was cancelled, or returns, in silence: a loop that a
stray cancellation of some library ended would be missed by nobody. Knows no loop by
what it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import NoReturn, TypeVar

T = TypeVar("T")


class Unbidden(Exception):
    """Something ended, and nobody had asked for that."""


async def unbroken(what: str, work: Awaitable[T]) -> T:
    """Await work and return what it returns.

    Raises Unbidden, naming `what`, if it was cancelled although this task was not.
    """
    try:
        return await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
    raise Unbidden(f"{what} was cancelled, and nobody had asked for that")


async def until_told(what: str, work: Awaitable[T], told: asyncio.Event) -> T:
    """Await work that ends once `told` is set. Raises Unbidden if it ends before."""
    done = await unbroken(what, work)
    if not told.is_set():
        raise Unbidden(f"{what} returned before it was told to")
    return done


async def endless(what: str, work: Awaitable[object]) -> NoReturn:
    """Await work that never ends by itself. Raises Unbidden also if it returns."""
    await unbroken(what, work)
    raise Unbidden(f"{what} returned, which it should never do")
