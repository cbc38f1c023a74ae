"""Something blocks the event loop, or threads: it is seen, and harms nothing else."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from support.doomed import BLOCKED, Doom, doom
from support.fault_scene import fault_scene
from support.hanging_plugin import NAME, HangingDaemon
from support.track_record import rounds
from support.watching import until
from support.winding_up import wind_up
from tunewatch.bulkheads import MOST

WATCHDOG = 2.0
"""s after which a service manager would end a daemon that gives no sign of life."""
LATE = 80
"""Deliveries before that: it is at work, and signs of life come."""
LATEST = 0.1
"""s that the loop may be late by, but for one time in a hundred."""
IN_TIME = 3.0
"""s that a stop may take whose calls are all somebody's that hang."""
POINT = "its mark is in the store, it was not sent"


@asynccontextmanager
async def service_manager(path):
    """Listen as a service manager does; note when a sign of life came."""
    signs = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.setblocking(False)

        async def hear():
            while True:
                said = await asyncio.get_running_loop().sock_recv(manager, 4096)
                if b"WATCHDOG=1" in said or b"READY=1" in said:
                    signs.append(time.monotonic())

        async with asyncio.TaskGroup() as tasks:
            hearing = tasks.create_task(hear(), name="service manager")
            environ = {
                "NOTIFY_SOCKET": str(path),
                "WATCHDOG_USEC": f"{WATCHDOG * 1e6:.0f}",
            }
            yield environ, signs
            hearing.cancel()


@pytest.mark.timeout(90)
async def test_a_loop_that_is_blocked_gives_no_sign_of_life_and_loses_nothing(
    tmp_path, chance
):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with (
        fault_scene(tmp_path, url, None, chance, sinks=2, at_once=3) as scene,
        service_manager(tmp_path / "notify") as (environ, signs),
    ):
        doom(scene.daemon.program)
        scene.daemon.environ = {**environ, **Doom(POINT, LATE, "block").environment}
        await scene.start()

        def was_blocked():
            gaps = [later - earlier for earlier, later in pairwise(signs)]
            return max(gaps, default=0.0) > BLOCKED - 1.0

        await until(was_blocked, within=40, what="signs of life stop and come again")
        assert (
            await scene.daemon.metric("tunewatch_event_loop_lag_seconds ")
            > BLOCKED - 1.0
        )
        await scene.at_work()
        scene.acquit(await wind_up(scene))


async def hangs_for(seconds, tmp_path, chance, track_record):
    """Run beside a plugin that blocks every thread it can get; return how it went."""
    url, began = f"sqlite:///{tmp_path / 'state.db'}", time.monotonic()
    async with fault_scene(
        tmp_path, url, None, chance, sinks=2, at_once=12, kind=HangingDaemon
    ) as scene:
        daemon = scene.daemon
        daemon.install()
        await scene.start()
        failed = f'tunewatch_plugin_failed_total{{plugin="{NAME}",reason="timeout"}}'

        async def all_hang():
            return await daemon.metric(failed) >= MOST

        await until(all_hang, within=60, what="it has every thread it can get")
        await asyncio.sleep(seconds)
        await scene.at_work()
        assert (await daemon.asked("/readyz"))[0] == 200
        await scene.all_delivered()
        code, took = await daemon.stop()
        assert code == 0, daemon.said()
        [left] = daemon.lines("daemon.leaves_calls_behind")
        assert left["calls"] == {f"plugins.{NAME}": MOST}
        late = daemon.late(0.99)
        scene.judge.audit()
        books = scene.judge.read()
        track_record(
            "a plugin blocks all its threads",
            **scene.recoveries(books, runs=MOST, took=[took])
            | {
                "recovered in": f"stopped in {took:.1f} s; the loop was late by"
                f" {1000 * late:.0f} ms or less, 99 times in a hundred"
            },
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
    assert took <= IN_TIME
    return late


@pytest.mark.timeout(120)
async def test_threads_that_never_come_back_harm_only_who_has_them(
    tmp_path, chance, track_record
):
    await hangs_for(0.0, tmp_path, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_the_loop_is_in_time_beside_a_plugin_that_blocks_all_its_threads(
    tmp_path, chance, track_record
):
    late = await hangs_for(rounds(5) * 60.0, tmp_path, chance, track_record)
    assert late <= LATEST
