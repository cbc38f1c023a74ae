"""kill -9 at random moments, while jobs move and 20 sinks listen."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.track_record import rounds

SINKS = 20
IN_FLIGHT = SINKS * 8
"""Deliveries that can be out at once: no kill may cost more repeats."""


async def start_and_kill(scene, chance):
    """Kill mostly at work, at times while it starts or takes up what was left."""
    moment = chance.random()
    if moment < 0.12:
        await scene.begin_life()
        await scene.daemon.spawn()
        await asyncio.sleep(chance.uniform(0.1, 1.5))
    elif moment < 0.3:
        await scene.start()
        await asyncio.sleep(chance.uniform(0.0, 0.3))
    else:
        await scene.start()
        await scene.at_work()
        await asyncio.sleep(chance.uniform(0.0, 0.7))
    await scene.kill()


async def survives(kills, staged, chance, track_record):
    began = time.monotonic()
    async with staged() as scene:
        # Before the first store is made nothing is owed, and there is none to judge.
        await scene.start()
        await scene.kill()
        for _ in range(kills):
            await start_and_kill(scene, chance)
        await scene.start()
        await scene.play_out()
        books = await scene.close()
        track_record(
            "kill -9 at random moments",
            **scene.figures(books),
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
    assert max(scene.repeats()) <= IN_FLIGHT
    assert sum(scene.repeats()) > kills, "most kills hit a daemon that did nothing"


@pytest.mark.timeout(240)
async def test_nothing_is_lost_or_invented_by_25_kills_at_random_moments(
    staged, chance, track_record
):
    await survives(25, staged, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_nothing_is_lost_or_invented_by_1000_kills_at_random_moments(
    staged, chance, track_record
):
    await survives(rounds(1000), staged, chance, track_record)
