"""So much memory and no more, with a million events behind an endpoint that is dead."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from support.backlog import BACKLOG, DEAD, WELL, add_events, waiting
from support.fault_scene import fault_scene
from support.memory_group import memory_group
from support.track_record import rounds
from support.watching import until

LIMIT = 128 * 2**20
GROWTH = 16 * 2**20
"""Bytes more than without a backlog: a hundredth of what the backlog itself takes."""
SCRAPE = 5.0
"""s between two scrapes, as a Prometheus in a hurry does."""


async def works(scene, group, seconds):
    """Let it work for so long; return the most that it held, in bytes."""
    held, end, scraped = 0, time.monotonic() + seconds, 0.0
    url = f"http://127.0.0.1:{scene.daemon.port}/metrics"
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < end:
            held = max(held, group.held)
            if time.monotonic() - scraped > SCRAPE:
                scraped = time.monotonic()
                async with session.get(url) as answer:
                    assert answer.status == 200
                    await answer.read()
            await asyncio.sleep(0.1)
    assert scene.daemon.process.returncode is None
    return held


@pytest.mark.faults
@pytest.mark.timeout(1200)
async def test_a_million_events_behind_a_dead_endpoint_fit_into_128_mebibytes(
    tmp_path, chance, track_record
):
    began, seconds = time.monotonic(), rounds(10) * 9
    path = tmp_path / "state.db"
    with memory_group(LIMIT) as group:
        async with fault_scene(
            tmp_path, f"sqlite:///{path}", None, chance, sinks=2, at_once=20
        ) as scene:
            receiver, daemon = scene.receiver, scene.daemon
            daemon.program.is_cold, daemon.program.entry = True, group.entry
            receiver.answer = lambda name: 503 if name == DEAD else 200
            await scene.start()
            plain = await works(scene, group, seconds)
            assert (await daemon.stop())[0] == 0
            await asyncio.to_thread(add_events, path, BACKLOG)
            assert waiting(path) > BACKLOG

            await scene.start()
            await scene.at_work()
            laden = await works(scene, group, seconds)
            told = receiver.acknowledged_of(WELL)
            assert waiting(path) > BACKLOG, "it was dead all the time"
            # It returns, and is told as fast as it takes it.
            receiver.answer = lambda _name: 200
            await until(
                lambda: receiver.acknowledged_of(DEAD) > 1000, within=120, every=0.2
            )
            draining = await works(scene, group, seconds)
            scene.moving.is_frozen = True
            code, _ = await daemon.stop()
            assert code == 0, daemon.said()
            kills, drained = group.kills, receiver.acknowledged_of(DEAD)
    most = max(plain, laden, draining)
    track_record(
        "a million events wait, in 128 MiB",
        engine="sqlite",
        runs=1,
        repeated=receiver.repeats.total(),
        out_of_order=len(receiver.inversions),
        recovered_in=f"held {plain / 2**20:.0f} MiB at most without them,"
        f" {laden / 2**20:.0f} with, {draining / 2**20:.0f} while {drained} of them"
        " were told",
        seconds=round(time.monotonic() - began),
    )
    assert kills == 0
    assert told > 0
    assert most <= LIMIT
    assert laden - plain <= GROWTH
    assert receiver.inversions == receiver.altered == receiver.misnamed == []
