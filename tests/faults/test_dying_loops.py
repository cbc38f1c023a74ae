"""Each supervised loop ends in turn: it or the process begins anew, and it is told."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from contextlib import contextmanager

import pytest

from support.doomed import AFTER, Doom, doom
from support.fatal_points import CORE_LOOPS, SOURCE_LOOPS
from support.fault_scene import fault_scene
from support.watching import until
from support.winding_up import wind_up

DEFECT = 70
ENDED = 5.0
"""s for the process to end."""
ACTS = ("raise", "cancel", "return")
CORE = [
    (name, act)
    for name, act in itertools.product(CORE_LOOPS, ACTS)
    if (name, act) != ("store.writer", "return")  # it returns when told to, only
]
OF_A_SOURCE = list(itertools.product(SOURCE_LOOPS, ACTS))


@contextmanager
def service_manager(path):
    """Listen as a service manager does, so that there is somebody to be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        yield {"NOTIFY_SOCKET": str(path)}


async def state_of_source(scene):
    _, told = await scene.daemon.asked("/readyz")
    return json.loads(told)["sources"]["research"]


async def end_loops(core, of_a_source, tmp_path, chance, track_record):
    began = time.monotonic()
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with fault_scene(tmp_path, url, None, chance, sinks=2, at_once=3) as scene:
        doom(scene.daemon.program)
        await scene.start()
        await scene.kill()
        with service_manager(tmp_path / "notify") as manager:
            for name, act in core:
                scene.daemon.environ = {**manager, **Doom(name, 1, act).environment}
                await ends_the_process(scene, name)
        for name, act in of_a_source:
            scene.daemon.environ = Doom(name, 1, act).environment
            await begins_anew(scene, name)
        scene.daemon.environ = {}
        await scene.start()
        await scene.at_work()
        books = await wind_up(scene)
        track_record(
            "a supervised loop ends",
            **scene.figures(books) | {"runs": len(core) + len(of_a_source)},
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)


async def ends_the_process(scene, name):
    """Let a core loop end: so does the process, soon, and it says which loop it was."""
    before = len(scene.daemon.lines("loop.died"))
    await scene.begin_life()
    process = await scene.daemon.spawn()
    until_then = time.monotonic() + AFTER + ENDED
    await until(
        lambda: len(scene.daemon.lines("loop.died")) > before,
        within=30,
        what=f"{name} is said to have died",
    )
    async with asyncio.timeout(max(ENDED, until_then - time.monotonic())):
        code = await process.wait()
    assert code == DEFECT, scene.daemon.said()
    [died] = scene.daemon.lines("loop.died")[before:]
    assert name.startswith(died["loop"])
    assert died["level"] == "error"
    await scene.kill()


async def begins_anew(scene, name):
    """Let a loop of a source end: it is down, said, counted, and begins anew."""
    before = len(scene.daemon.lines("loop.died"))
    await scene.begin_life()
    await scene.daemon.spawn()
    await scene.daemon.ready(scene.daemon.process)

    async def is_down():
        state = await state_of_source(scene)
        return state["state"] == "down" and "loop died" in (state["reason"] or "")

    await until(is_down, within=10, every=0.05, what=f"{name} is down in /readyz")
    [died] = scene.daemon.lines("loop.died")[before:]
    assert died["loop"] == "terms:research"
    # What was out is broken off: it comes again, as after an end of the process.
    scene.receiver.life += 1
    name_of_metric = 'tunewatch_loop_restarts_total{loop="source"}'
    assert await scene.daemon.metric(name_of_metric) == 1.0

    async def is_up():
        return (await state_of_source(scene))["state"] == "up"

    await until(is_up, within=20, every=0.05, what=f"{name} begins anew")
    await scene.at_work()
    await scene.kill()


@pytest.mark.timeout(120)
async def test_a_loop_that_ends_is_never_missed_in_silence(
    tmp_path, chance, track_record
):
    core, of_a_source = chance.sample(CORE, 2), chance.sample(OF_A_SOURCE, 1)
    await end_loops(core, of_a_source, tmp_path, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_no_loop_is_missed_in_silence_however_it_ends(
    tmp_path, chance, track_record
):
    await end_loops(CORE, OF_A_SOURCE, tmp_path, chance, track_record)
