"""SIGHUP under load: nothing lost, nothing out of order, and soon."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from support.track_record import rounds
from support.watching import until

WITHIN = 4.0
"""s: half a second of it for calls that are out, the rest for a busy machine."""


async def reloads(times, staged, chance, track_record):
    began = time.monotonic()
    async with staged(at_once=3, sinks=4) as scene:
        daemon = scene.daemon
        await scene.start()
        for turn in range(times):
            await scene.at_work()
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            # By turns every plugin is another one, every source, or both.
            if turn % 3 != 0:
                concurrency = chance.randint(2, 16)
                daemon.delivery = f"timeout = '10s', concurrency = {concurrency}"
            if turn % 3 != 1:
                daemon.interval = f"{chance.randint(150, 300)}ms"
            daemon.configure()
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGHUP)
            await until(
                lambda turn=turn: len(daemon.lines("config.reloaded")) > turn,
                what="it is reloaded",
            )
        await scene.play_out()
        books = await scene.close()
        took = [line["seconds"] for line in daemon.lines("config.reloaded")]
        figures = scene.figures(books) | {
            "runs": times,
            "repeated": scene.receiver.repeats.total(),
            "recovered in": f"{max(took):.2f} s at most",
        }
        track_record(
            "SIGHUP under load",
            **figures,
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
        assert not daemon.lines("loop.died")
    assert max(took) < WITHIN


@pytest.mark.timeout(200)
async def test_reloads_under_load_lose_nothing_and_keep_the_order(
    staged, chance, track_record
):
    await reloads(3, staged, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_two_hundred_reloads_under_load_lose_nothing(
    staged, chance, track_record
):
    await reloads(rounds(200), staged, chance, track_record)
