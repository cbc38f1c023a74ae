"""Ends that nobody asked for, as the errors they are.

A task group drops a task that was cancelled, or returns, in silence: a loop that a
stray cancellation of some library ended would be missed by nobody. Knows no loop by
what it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
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


def begin(
    tasks: asyncio.TaskGroup, name: str, loop: Awaitable[object]
) -> asyncio.Task[NoReturn]:
    """Begin a loop that never ends by itself, in a task that is called as it is."""
    return tasks.create_task(endless(f"the loop {name}", loop), name=name)


@asynccontextmanager
async def going_on(name: str, loop: Awaitable[object]) -> AsyncIterator[None]:
    """Let a loop that never ends by itself go on until the block ends.

    What the block raises comes out as it is, in no group.
    """
    fault = None
    async with asyncio.TaskGroup() as tasks:
        task = begin(tasks, name, loop)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below, not in a group
            fault = error
        finally:
            task.cancel()
    if fault is not None:
        raise fault


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what was raised, out of the groups that task groups wrap it in."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from causes(inner)
    else:
        yield error
