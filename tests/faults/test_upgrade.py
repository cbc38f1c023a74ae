"""A store of the first release with events that wait: today's code delivers them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support.deaths import Deaths
from support.fatal_points import POINTS
from support.older_store import (
    postgres_as_of_first_release,
    sqlite_as_of_first_release,
)
from support.watching import until
from support.winding_up import wind_up

WAITING = 40
"""Events that wait for each plugin, at least."""


async def older(scene, postgres):
    if scene.engine == "sqlite":
        path = Path(scene.url.removeprefix("sqlite:///"))
        await sqlite_as_of_first_release(path)
    else:
        await postgres_as_of_first_release(postgres, scene.url)


async def revision(scene):
    rows = scene.judge.books.rows("SELECT version_num FROM alembic_version")
    return rows[0][0]


@pytest.mark.parametrize(
    "store_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.faults)],
    indirect=True,
)
@pytest.mark.timeout(120)
async def test_what_waits_in_an_old_store_is_delivered_after_an_upgrade_that_is_killed(
    staged, postgres, chance, track_record
):
    began = time.monotonic()
    async with staged(sinks=2, at_once=4) as scene:
        deaths = Deaths(scene=scene, chance=chance)
        scene.receiver.answer = lambda _plugin: 503
        await scene.start()
        await until(
            lambda: len(scene.judge.read().events) >= WAITING,
            within=60,
            every=0.3,
            what="events wait",
        )
        code, _ = await scene.daemon.stop()
        assert code == 0
        await older(scene, postgres)
        assert await revision(scene) == "0001"
        waiting = scene.judge.read().events
        scene.receiver.answer = lambda _plugin: 200
        for name, point in POINTS.items():
            if point.stage == "old store":
                await deaths.die_at(name)
                assert await revision(scene) == "0001", "half an upgrade"
        await scene.start()
        assert await revision(scene) != "0001"
        await scene.at_work()
        books = await wind_up(scene)
        track_record(
            "upgrade from the first tables with events that wait, killed 3 times",
            **scene.figures(books),
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
        kept = {event.id for event in books.events}
        assert {event.id for event in waiting} <= kept
        had = [scene.receiver.acknowledged("hook00", event.id) for event in waiting]
        assert {known.acknowledged for known in had} == {1}
