"""Something blocks the event loop: it is seen, it is over, and nothing is lost."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from support.doomed import BLOCKED, Doom, doom
from support.fault_scene import fault_scene
from support.watching import until
from support.winding_up import wind_up

WATCHDOG = 2.0
"""s after which a service manager would end a daemon that gives no sign of life."""
LATE = 80
"""Deliveries before that: it is at work, and signs of life come."""
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
