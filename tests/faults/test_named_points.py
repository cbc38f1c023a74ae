"""kill -9 at named points of the code, where the daemon's own work leads to them."""

from __future__ import annotations

import time

import pytest

from support.deaths import Deaths
from support.fatal_points import POINTS
from support.track_record import rounds
from support.winding_up import wind_up

ON_THE_WAY = [
    name
    for name, point in POINTS.items()
    if point.stage not in {"forgetting", "old store"}
]
"""Points that a scene of moving jobs comes by."""
SINKS = 4
DRAWN = 3


async def dies_at(names, staged, chance, track_record):
    began = time.monotonic()
    async with staged(sinks=SINKS, at_once=4) as scene:
        deaths = Deaths(scene=scene, chance=chance)
        # Before the first store is made nothing is owed, and there is none to judge.
        await scene.start()
        await scene.at_work()
        await scene.kill()
        for name in names:
            await deaths.die_at(name)
        await scene.start()
        if len(names) > DRAWN:
            await scene.play_out()
        books = await wind_up(scene)
        deaths.forgive()
        track_record(
            "kill -9 at named points",
            **scene.figures(books),
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)


def test_every_point_is_in_the_code_and_there_are_25_or_more():
    for point in POINTS.values():
        owner, name = point.owner()
        assert callable(getattr(owner, name)), point
    assert len(POINTS) >= 25


@pytest.mark.timeout(240)
async def test_nothing_is_lost_by_kills_at_points_that_are_drawn(
    staged, chance, track_record
):
    await dies_at(chance.sample(ON_THE_WAY, DRAWN), staged, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_nothing_is_lost_by_20_kills_at_each_point(staged, chance, track_record):
    names = ON_THE_WAY * rounds(20)
    chance.shuffle(names)
    await dies_at(names, staged, chance, track_record)
