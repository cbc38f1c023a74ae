"""Ends that nobody asked for are errors; those that somebody did are none."""

from __future__ import annotations

import asyncio

import pytest

from tunewatch.unbidden import Unbidden, endless, unbroken, until_told


async def stray():
    raise asyncio.CancelledError


async def value():
    return 7


async def test_a_stray_cancellation_is_an_error_that_a_group_does_not_drop():
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(unbroken("the loop a", stray()))
    assert caught.group_contains(Unbidden, match="the loop a was cancelled")


async def test_a_cancellation_that_was_asked_for_stays_one():
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(endless("the loop a", asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


async def test_a_timeout_stays_one():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await unbroken("it", asyncio.Event().wait())


async def test_what_ends_in_order_returns_its_value():
    assert await unbroken("it", value()) == 7


async def test_a_loop_without_end_may_not_return():
    with pytest.raises(Unbidden, match="the loop a returned"):
        await endless("the loop a", value())


async def test_a_loop_may_return_once_it_was_told_to():
    told = asyncio.Event()
    with pytest.raises(Unbidden, match="before it was told to"):
        await until_told("the loop a", value(), told)
    told.set()
    assert await until_told("the loop a", value(), told) == 7
