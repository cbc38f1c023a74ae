"""A hundred sources go from one replica to another: by SIGTERM, and by kill -9."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.watching import until

SOURCES = 100
TAKEN_OVER = 20.0
"""s after kill -9: the lease, and taking."""
HANDED_OVER = 1.0
"""s after SIGTERM, where no call is out, on a machine that does nothing else."""
LOADED = 10.0
"""The same on one that runs all other tests meanwhile."""


async def moved(staged, *, times):
    """Let all sources go to and fro; return the seconds by SIGTERM and by kill -9."""
    handed, taken = [], []
    async with staged(replicas=2, sources=SOURCES, at_once=0, every="15s") as scene:
        one, two = scene.replicas
        await scene.begin(one)
        await scene.all_held_by(one)
        for _ in range(times):
            await at_rest(scene)
            # Before the new one asks for its share.
            await scene.begin(two)
            handed.append(await scene.end(one))
            await scene.begin(one)
            await scene.kill_one(two)
            taken.append(await scene.all_held_by(one))
        await asyncio.sleep(1.0)
        assert scene.holdings.told_twice() == []
        code, _ = await one.stop()
        assert code == 0, one.said()
    return handed, taken


async def at_rest(scene):
    """Wait until who took over has read the first page of everything."""
    requests, began = scene.moving.api.requests, time.monotonic()

    def answered():
        found = requests.matching("GET *", since=began)
        return len({one.key for one in found if one.status is not None}) == SOURCES

    await until(answered, within=60, every=0.2, what="all are looked at")


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_a_hundred_sources_are_handed_over_and_taken_over(staged, track_record):
    began = time.monotonic()
    handed, taken = await moved(staged, times=1)
    track_record(
        "100 sources",
        engine="postgresql",
        runs=1,
        recovered_in=told(handed, taken),
        seconds=round(time.monotonic() - began),
    )
    assert max(taken) <= TAKEN_OVER
    assert max(handed) <= LOADED


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_a_hundred_sources_are_handed_over_within_a_second_each_time(
    staged, track_record
):
    began = time.monotonic()
    handed, taken = await moved(staged, times=10)
    track_record(
        "100 sources, to and fro",
        engine="postgresql",
        runs=10,
        recovered_in=told(handed, taken),
        seconds=round(time.monotonic() - began),
    )
    assert max(taken) <= TAKEN_OVER
    assert max(handed) <= HANDED_OVER


def told(handed, taken):
    return (
        f"handed over in {max(handed):.2f} s at most;"
        f" taken over in {max(taken):.1f} s at most"
    )
