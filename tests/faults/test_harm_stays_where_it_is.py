"""One endpoint hangs, one floods, a second daemon starts, a file is damaged."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time

import pytest

from support.daemon_process import daemon_process
from support.damaged_store import zero
from support.fault_scene import fault_scene
from support.watching import until

SINKS = 6


@pytest.mark.parametrize("how", ["hangs", "refuses every event"])
async def test_an_endpoint_in_trouble_harms_only_itself(staged, how):
    async with staged(sinks=SINKS, at_once=3) as scene:
        sick, *healthy = scene.names
        status = {"hangs": None, "refuses every event": 422}[how]
        scene.receiver.answer = lambda plugin: status if plugin == sick else 200
        await scene.start()
        await until(
            lambda: all(scene.receiver.acknowledged_of(name) >= 40 for name in healthy),
            within=40,
            what="the healthy ones hear of everything",
        )
        assert scene.receiver.acknowledged_of(sick) == 0
        # Nobody is flooded for being ill.
        ill = [
            known for (name, _), known in scene.receiver.known.items() if name == sick
        ]
        tries = sum(one.arrivals for one in ill)
        lanes = len({one.job for one in ill})
        assert tries <= 8 + 2 * lanes
        scene.judge.plugins = healthy
        await scene.all_delivered()
        assert scene.receiver.inversions == []
        assert scene.receiver.altered == []


async def test_a_second_daemon_on_a_file_ends_with_3_and_the_first_goes_on(
    tmp_path, chance
):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with fault_scene(tmp_path, url, None, chance, sinks=2, at_once=3) as scene:
        await scene.start()
        await scene.at_work()
        async with daemon_process(
            tmp_path / "second", state=url, api_url=scene.moving.url, hooks={}
        ) as second:
            process = await second.spawn()
            async with asyncio.timeout(20):
                code = await process.wait()
        assert code == 3
        said = second.log.read_text()
        assert "is in use by process" in said
        assert f"{scene.daemon.process.pid}" in said
        assert "Traceback" not in said
        await scene.at_work()
        await scene.play_out()
        scene.acquit(await scene.close())


@pytest.mark.parametrize("how", ["cut in half", "zeroed in the middle", "not a store"])
async def test_a_damaged_file_is_refused_with_3_and_left_as_it_is(
    tmp_path, chance, how
):
    path = tmp_path / "state.db"
    url = f"sqlite:///{path}"
    async with fault_scene(tmp_path, url, None, chance, sinks=1, at_once=3) as scene:
        await scene.start()
        await scene.at_work()
        code, _ = await scene.daemon.stop()
        assert code == 0
        damage(path, how)
        before = hashlib.sha256(path.read_bytes()).hexdigest()
        began = time.monotonic()
        process = await scene.daemon.spawn()
        async with asyncio.timeout(20):
            code = await process.wait()
        assert code == 3, scene.daemon.said()
        assert time.monotonic() - began < 10
        said = scene.daemon.said()
        assert str(path) in said
        assert "backup" in said
        assert "Traceback" not in said
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def damage(path, how):
    match how:
        case "cut in half":
            os.truncate(path, path.stat().st_size // 2)
        case "zeroed in the middle":
            zero(path, 4)
        case _:
            path.write_bytes(b"these are somebody's notes\n" * 400)
