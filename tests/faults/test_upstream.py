"""The API in trouble while jobs move: keys that are revoked, answers that fail."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.daemon_process import KEY
from support.fault_scene import fault_scene
from support.rotating_key import KeyInFile
from support.track_record import rounds
from support.watching import until
from support.winding_up import wind_up

FOUND = 5.0
"""s until a key that was exchanged is used."""
REFUSED = 12
"""Requests with a revoked key, at most: those that were under way, and a probe."""
RATE = 0.15
"""Part of all answers that fail."""


@pytest.fixture
def moved(tmp_path, chance):
    """Lend a scene on SQLite."""

    def staged():
        url = f"sqlite:///{tmp_path / 'state.db'}"
        return fault_scene(
            tmp_path, url, None, chance, sinks=3, at_once=4, kind=KeyInFile
        )

    return staged


async def rotates(times, moved, chance, track_record, *, rate=0.0):
    began, found, refused = time.monotonic(), [], []
    async with moved() as scene:
        api, daemon, old = scene.moving.api, scene.daemon, KEY
        daemon.keep(old)
        await scene.start()
        failing = api.chaos(rate=rate, seed=chance.randrange(2**31)) if rate else None
        for number in range(times):
            await scene.at_work()
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            new, at = f"sk-{number}", time.monotonic()
            api.rotate_key(old, new)
            await asyncio.sleep(chance.uniform(0.0, 1.5))
            daemon.keep(new)
            in_file = time.monotonic()
            await until(
                lambda new=new: api.requests.matching(key=new),
                within=20,
                what="the new key is used",
            )
            found.append(time.monotonic() - in_file)
            refused.append(len(api.requests.matching(key=old, since=at)))
            api.requests.clear()
            old = new
        if failing is not None:
            assert failing.hits, "nothing failed"
            failing.lift()
        if times > 1:
            await scene.play_out()
        await scene.at_work()
        books = await wind_up(scene)
        track_record(
            "a key revoked and rotated under load",
            **scene.recoveries(books, runs=times, took=found),
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
    assert max(found) <= FOUND
    assert max(refused) <= REFUSED


async def fails_by_chance(seconds, moved, chance, track_record):
    began = time.monotonic()
    async with moved() as scene:
        scene.daemon.keep(KEY)
        await scene.start()
        await scene.at_work()
        rule = scene.moving.api.chaos(rate=RATE, seed=chance.randrange(2**31))
        await asyncio.sleep(seconds)
        struck = len(rule.hits)
        rule.lift()
        await scene.at_work()
        await scene.play_out()
        books = await wind_up(scene)
        track_record(
            "an API that fails by chance",
            **scene.figures(books)
            | {"runs": seconds, "repeated": scene.receiver.repeats.total()},
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
    assert struck > 0, "nothing failed"


@pytest.mark.timeout(120)
async def test_a_key_that_is_rotated_while_answers_fail_by_chance_costs_nothing(
    moved, chance, track_record
):
    await rotates(1, moved, chance, track_record, rate=RATE)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_keys_that_are_rotated_fifty_times_under_load_cost_nothing(
    moved, chance, track_record
):
    await rotates(rounds(50), moved, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_an_api_that_fails_for_minutes_costs_and_invents_nothing(
    moved, chance, track_record
):
    await fails_by_chance(rounds(30) * 10, moved, chance, track_record)
