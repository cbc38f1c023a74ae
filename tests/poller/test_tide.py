"""What many sources do is done together, what few do at once."""

from __future__ import annotations

import asyncio

import pytest

from support.dispatching import HandClock
from tunewatch.poller.tide import EVERY, MANY, RECENTLY, Tide


async def let_run() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def committed(tide: Tide, sources: range, done: list[int]) -> None:
    """Ask for all sources at once and note each that may commit."""

    async def one(source: int) -> None:
        await tide.wait(source)
        done.append(source)

    async with asyncio.TaskGroup() as tasks:
        for source in sources:
            tasks.create_task(one(source))


async def test_few_sources_never_wait():
    clock, done = HandClock(), []
    tide = Tide(clock)
    for _ in range(100):
        await committed(tide, range(MANY - 1), done)
    assert len(done) == 100 * (MANY - 1)


async def test_many_sources_commit_at_the_same_moments():
    clock, done = HandClock(), []
    tide = Tide(clock)
    await committed(tide, range(MANY - 1), [])
    clock.advance(EVERY / 3)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(committed(tide, range(100, 100 + MANY), done))
        await let_run()
        assert done == []
        clock.advance(EVERY / 3)
        tasks.create_task(committed(tide, range(200, 200 + MANY), done))
        await let_run()
        assert done == []
        clock.advance(EVERY / 3 + 1e-6)
        await let_run()
        assert len(done) == 2 * MANY


async def test_many_sources_rest_until_the_same_moment_and_few_as_long_as_they_want():
    clock, up = HandClock(), []
    tide = Tide(clock)

    async def rests(seconds: float) -> None:
        await tide.rest(seconds)
        up.append(seconds)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rests(EVERY / 10))
        await let_run()
        clock.advance(EVERY / 10)
        await let_run()
        assert up == [EVERY / 10]
        await committed(tide, range(MANY - 1), [])
        tasks.create_task(tide.wait(MANY))
        await let_run()
        for part in (10, 5, 2):
            tasks.create_task(rests(EVERY / part))
        await let_run()
        clock.advance(EVERY / 2)
        await let_run()
        assert up == [EVERY / 10], "each had waited long enough, and for the others"
        clock.advance(EVERY * 0.4 + 1e-6)
        await let_run()
        assert sorted(up[1:]) == [EVERY / 10, EVERY / 5, EVERY / 2]
        up.clear()
        tasks.create_task(rests(2 * EVERY))
        await let_run()
        clock.advance(2 * EVERY - 1e-3)
        await let_run()
        assert up == [], "no shorter than was wanted"
        clock.advance(EVERY + 1e-3)
        await let_run()
        assert up == [2 * EVERY]


async def test_who_is_called_off_while_it_waits_for_all_leaves_nobody_waiting():
    clock, done = HandClock(), []
    tide = Tide(clock)
    await committed(tide, range(MANY - 1), [])
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(tide.wait(MANY))
        await let_run()
        tasks.create_task(committed(tide, range(100, 110), done))
        await let_run()
        assert done == []
        first.cancel()
        await let_run()
        assert len(done) == 10


@pytest.mark.parametrize("pause", [RECENTLY, 60.0])
async def test_what_wrote_long_ago_does_not_count(pause):
    clock, done = HandClock(), []
    tide = Tide(clock)
    await committed(tide, range(MANY - 1), [])
    clock.advance(pause)
    await committed(tide, range(100, 100 + MANY - 1), done)
    assert len(done) == MANY - 1
