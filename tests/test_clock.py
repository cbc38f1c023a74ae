from __future__ import annotations

import asyncio
import time

from tunewatch.clock import Alarm, SystemClock

LONG = 3600.0


def alarm() -> Alarm:
    return Alarm(SystemClock(), name="alarm")


def at(seconds: float) -> float:
    """Return a moment of the clock, so many seconds from now."""
    return SystemClock().monotonic() + seconds


def sleepers() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task.get_name() == "alarm"}


async def test_a_rest_ends_when_it_rings_or_its_time_comes():
    bell = alarm()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        bell.ring()
        await bell.rest(at(LONG), tasks)
        bell.set_anew()
        began = time.monotonic()
        await bell.rest(at(0.05), tasks)
        assert time.monotonic() - began >= 0.04
        assert bell.has_rung
        bell.stop()


async def test_a_rest_that_is_over_sooner_than_the_last_is_not_slept_through():
    bell = alarm()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for until in (at(LONG), at(LONG / 2), at(0.01)):
            bell.set_anew()
            if until > at(1):
                bell.ring()
            await bell.rest(until, tasks)
        bell.stop()


async def test_many_rests_that_are_rung_share_one_sleeper():
    bell = alarm()
    seen = set()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for number in range(5):
            asyncio.get_running_loop().call_soon(bell.ring)
            await bell.rest(at(LONG + number), tasks)
            seen |= sleepers()
            bell.set_anew()
        bell.stop()
    assert len(seen) == 1


async def test_a_sleeper_that_wakes_early_leaves_the_next_rest_its_time():
    bell = alarm()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        bell.ring()
        await bell.rest(at(0.02), tasks)
        end = at(0.1)
        while at(0) < end:
            bell.set_anew()
            await bell.rest(end, tasks)
        bell.stop()


async def test_once_stopped_it_keeps_no_group_waiting():
    bell = alarm()
    async with asyncio.timeout(20):
        async with asyncio.TaskGroup() as tasks:
            bell.ring()
            await bell.rest(at(LONG), tasks)
            bell.stop()
    assert not sleepers()
