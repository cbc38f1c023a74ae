"""A plugin that is paused, by hand or by its receiver, and goes on."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from support.program import Program
from support.running import QUICK, Running, configure, eventually, running
from support.simulated_org import simulated
from tunewatch.testing import Receiver, Reply, SimulatedApi

KEY = "sk-pausing"
SECRET = "whsec_" + base64.b64encode(b"p" * 32).decode()

Scene = tuple[Running, SimulatedApi, Receiver]


@pytest.fixture
async def scene(tmp_path) -> AsyncIterator[Scene]:
    program = Program(tmp_path)
    receiver = Receiver(secrets=[SECRET])
    async with AsyncExitStack() as stack:
        api, url = await stack.enter_async_context(simulated(KEY))
        hook = await stack.enter_async_context(receiver.serve())
        configure(
            program,
            f'[sources.a]\nbase_url = "{url}"\napi_key = "{KEY}"\n{QUICK}'
            f'[plugins.ops]\nkind = "webhook"\nurl = "{hook}"\nsecret = "{SECRET}"\n'
            'allow_hosts = ["127.0.0.1"]\nevents = ["@status"]\n',
        )
        yield await stack.enter_async_context(running(program)), api, receiver


async def is_paused(daemon: Running) -> bool:
    return (await daemon.part("plugins", "ops"))["state"] == "paused"


async def circuit(daemon: Running) -> float:
    return (await daemon.metrics())['tunewatch_plugin_circuit_open{plugin="ops"}']


async def row(daemon: Running) -> dict[str, Any]:
    listed = json.loads((await daemon.cli("plugins", "-o", "json")).out)["data"]
    found: dict[str, Any] = next(one for one in listed if one["name"] == "ops")
    return found


async def open_at_last(daemon: Running, value: float) -> None:
    async def is_shown() -> bool:
        return await circuit(daemon) == value

    await eventually(is_shown, f"the circuit is {value} in /metrics")


async def test_a_person_pauses_a_plugin_and_nothing_is_lost_until_it_goes_on(scene):
    daemon, api, receiver = scene
    done = await daemon.cli("plugins", "pause", "ops")
    assert done.code == 0
    await eventually(lambda: is_paused(daemon), "it is paused")
    assert (await daemon.logged("plugin.paused", plugin="ops"))["level"] == "warning"
    job = api.add_job(project="project-0", steps=10, outcome="cancelled")

    async def three_wait() -> bool:
        return (await row(daemon))["pending"] >= 1

    await eventually(three_wait, "events wait")
    assert receiver.received == []
    assert (await row(daemon))["state"] == "paused"
    await open_at_last(daemon, 1)
    assert (await daemon.ready())[0] == 200
    assert (await daemon.cli("plugins", "resume", "ops")).code == 0
    got = await receiver.wait_until(
        lambda got: bool(got) and got[-1].json()["type"].endswith("cancelled"),
        within=30,
    )
    assert {one.json()["data"]["id"] for one in got} == {job.id}
    await daemon.logged("plugin.resumed", plugin="ops")
    assert (await row(daemon))["state"] == "up"
    await open_at_last(daemon, 0)
    assert await daemon.stop() == 0


async def test_a_receiver_that_is_gone_pauses_its_plugin_also_after_a_restart(scene):
    daemon, api, receiver = scene
    receiver.usual = Reply(status=410)
    job = api.add_job(project="project-0", steps=10, outcome="cancelled")
    said = await daemon.logged("plugin.paused", plugin="ops")
    assert "410" in said["reason"]
    await open_at_last(daemon, 1)
    assert (await row(daemon))["state"] == "paused"
    assert len(receiver.received) == 1
    assert await daemon.stop() == 0
    receiver.usual = Reply(status=200)
    async with running(daemon.program) as again:
        await eventually(lambda: is_paused(again), "it is still paused")
        assert "410" in (await again.part("plugins", "ops"))["reason"]
        assert len(receiver.received) == 1
        await again.cli("plugins", "resume", "ops")
        got = await receiver.wait_until(
            lambda got: bool(got) and got[-1].json()["type"].endswith("cancelled"),
            within=30,
        )
        assert {one.json()["data"]["id"] for one in got} == {job.id}
        assert await again.stop() == 0


async def test_who_misspells_a_plugin_is_told(scene):
    daemon, _, _ = scene
    done = await daemon.cli("plugins", "pause", "opps")
    assert done.code == 2
    assert "did you mean ops?" in done.err
