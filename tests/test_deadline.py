"""One timer for many calls: each is cut off in its own time, as by asyncio.timeout."""

from __future__ import annotations

import asyncio

import pytest

from tunewatch.deadline import Deadline

SHORT = 0.05
NEVER = 60.0


async def test_what_is_in_time_is_left_alone():
    deadline = Deadline(NEVER)
    with deadline.begin() as limit:
        await asyncio.sleep(0)
    assert not limit.expired


async def test_what_takes_longer_is_cut_off():
    deadline = Deadline(SHORT)
    limit = deadline.begin()
    with pytest.raises(TimeoutError), limit:
        await asyncio.sleep(NEVER)
    assert limit.expired
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "whoever comes next would think it was cancelled"


async def test_each_of_many_is_cut_off_in_its_own_time():
    deadline, loop = Deadline(SHORT), asyncio.get_running_loop()
    took: list[float] = []

    async def call(after: float) -> None:
        await asyncio.sleep(after)
        began = loop.time()
        with pytest.raises(TimeoutError), deadline.begin():
            await asyncio.sleep(NEVER)
        took.append(loop.time() - began)

    async with asyncio.timeout(NEVER / 2), asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(call(number * SHORT / 3), name=f"call:{number}")
    assert len(took) == 5
    assert min(took) >= SHORT * 0.99


async def test_one_that_ended_in_time_leaves_the_others_their_limit():
    deadline = Deadline(SHORT)
    with deadline.begin():
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), deadline.begin():
        await asyncio.sleep(NEVER)


async def test_a_timeout_from_within_is_not_taken_for_ours():
    limit = Deadline(NEVER).begin()
    with pytest.raises(TimeoutError), limit:
        raise TimeoutError
    assert not limit.expired


async def test_who_is_cancelled_from_outside_is_not_told_of_a_timeout():
    deadline = Deadline(NEVER)
    begun = asyncio.Event()

    async def call() -> None:
        with deadline.begin():
            begun.set()
            await asyncio.sleep(NEVER)

    task = asyncio.get_running_loop().create_task(call())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_as_time_runs_out_is_cancelled():
    deadline = Deadline(SHORT)
    limit = deadline.begin()

    async def call() -> None:
        with limit:
            await asyncio.sleep(NEVER)

    task = asyncio.get_running_loop().create_task(call())
    await asyncio.sleep(0)
    limit.expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_limit_that_was_lifted_lets_the_rest_take_its_time():
    deadline = Deadline(SHORT)
    with deadline.begin() as limit:
        limit.lift()
        await asyncio.sleep(SHORT * 2)
    assert not limit.expired
