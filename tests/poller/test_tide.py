"""Looks of many sources are committed together, those of few at once."""

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


@pytest.mark.parametrize("pause", [RECENTLY, 60.0])
async def test_what_wrote_long_ago_does_not_count(pause):
    clock, done = HandClock(), []
    tide = Tide(clock)
    await committed(tide, range(MANY - 1), [])
    clock.advance(pause)
    await committed(tide, range(100, 100 + MANY - 1), done)
    assert len(done) == MANY - 1
