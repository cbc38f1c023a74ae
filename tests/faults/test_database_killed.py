"""PostgreSQL is shot down again and again while jobs move: nothing is lost of it."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from support.fault_scene import fault_scene
from support.track_record import rounds
from support.winding_up import wind_up

BACK = 5.0
"""s after the database is up until deliveries go on."""
GROWTH = 30.0
"""MiB that the daemon may grow by over all of it."""


def resident(process):
    """Return the MiB of memory that a process holds."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [one for one in status.splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@pytest.fixture
def staged(tmp_path, server_url, postgres, chance):
    return partial(fault_scene, tmp_path, server_url, postgres, chance)


async def killed(times, staged, postgres, chance, track_record):
    began, back = time.monotonic(), []
    async with staged(sinks=4, at_once=4) as scene:
        await scene.start()
        process = scene.daemon.process
        await scene.at_work()
        before = resident(process)
        for _ in range(times):
            await scene.at_work()
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            postgres.stop(signal.SIGQUIT)
            try:
                await asyncio.sleep(chance.uniform(0.0, 3.0))
            finally:
                # Not in a thread: the server ends with the one that started it.
                postgres.start()
            back.append(await scene.goes_on(within=30))
        grown = resident(process) - before
        if times > 1:
            await scene.play_out()
        assert process.returncode is None
        books = await wind_up(scene)
        track_record(
            "PostgreSQL killed under load",
            **scene.recoveries(books, runs=times, took=back),
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
    assert max(back) <= BACK
    assert grown <= GROWTH


@pytest.mark.timeout(120)
async def test_a_database_that_is_killed_under_load_costs_nothing(
    staged, postgres, chance, track_record
):
    await killed(1, staged, postgres, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_a_database_that_is_killed_a_hundred_times_costs_nothing(
    staged, postgres, chance, track_record
):
    await killed(rounds(100), staged, postgres, chance, track_record)
