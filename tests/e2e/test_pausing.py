"""A plugin that is paused, by hand or by its receiver, and goes on."""

from __future__ import annotations

import base64
import json
import signal
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


async def states(daemon: Running) -> set[str]:
    """Return the states that the metrics say ops is in."""
    series = 'tunewatch_plugin_state{plugin="ops",state="'
    metrics = await daemon.metrics()
    return {
        name.removeprefix(series).removesuffix('"}')
        for name, value in metrics.items()
        if name.startswith(series) and value == 1
    }


async def attempts(daemon: Running) -> list[dict[str, Any]]:
    """Return the attempts to deliver to ops, newest first."""
    done = await daemon.cli("deliveries", "--plugin", "ops", "-o", "json")
    found: list[dict[str, Any]] = json.loads(done.out)["data"]
    return found


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
    assert said["level"] == "warning"
    assert "410" in said["reason"]
    await open_at_last(daemon, 1)
    assert await states(daemon) == {"paused"}
    part = await daemon.part("plugins", "ops")
    assert (part["state"], part["reason"]) == ("paused", said["reason"])
    shown = await row(daemon)
    assert (shown["state"], shown["reason"]) == ("paused", said["reason"])
    [attempt] = await attempts(daemon)
    assert (attempt["outcome"], attempt["status"]) == ("paused", 410)
    assert attempt["reason"] == said["reason"]
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


async def test_a_receiver_in_trouble_is_shown_as_probed_with_the_reason_and_when(scene):
    daemon, api, receiver = scene
    receiver.usual = Reply(status=503)
    api.add_job(project="project-0", steps=10, outcome="cancelled")
    said = await daemon.logged("plugin.trouble_began", plugin="ops")
    assert "503" in said["reason"]

    async def is_shown() -> bool:
        return (await row(daemon))["state"] == "probing"

    await eventually(is_shown, "the command line shows it")
    part, shown = await daemon.part("plugins", "ops"), await row(daemon)
    assert (part["state"], part["reason"]) == ("probing", said["reason"])
    assert shown["reason"] == said["reason"]
    assert shown["retry_at"] == pytest.approx(part["retry_at"], abs=70)
    assert await states(daemon) == {"probing"}
    assert {one["status"] for one in await attempts(daemon)} == {503}
    table = (await daemon.cli("plugins")).out
    assert "NEXT PROBE" in table
    receiver.usual = Reply(status=200)
    await daemon.logged("plugin.trouble_ended", plugin="ops")

    async def is_up() -> bool:
        return (await row(daemon))["state"] == "up"

    await eventually(is_up, "the command line shows that it is over")
    assert await states(daemon) == {"up"}
    assert await daemon.stop() == 0
    done = await daemon.cli("plugins")
    assert "no daemon runs" in done.err


async def test_a_redelivery_that_was_asked_for_outlives_the_daemon(scene):
    daemon, api, receiver = scene
    job = api.add_job(project="project-0", steps=10, outcome="cancelled")
    first = await receiver.wait_until(
        lambda got: bool(got) and got[-1].json()["type"].endswith("cancelled"),
        within=30,
    )
    told = [one.json()["id"] for one in first]
    await daemon.cli("plugins", "pause", "ops")
    await eventually(lambda: is_paused(daemon), "it is paused")
    asked = await daemon.cli(
        *("redeliver", "--plugin", "ops", "--job", job.id, "--since", "1h"), "--no-wait"
    )
    assert asked.code == 0, asked.err
    await daemon.logged("redelivery.taken_up", plugin="ops")
    assert await daemon.stop(signal.SIGKILL) != 0
    async with running(daemon.program) as again:
        await again.cli("plugins", "resume", "ops")
        await receiver.wait_until(lambda got: len(got) >= 2 * len(told), within=30)
        assert [one.json()["id"] for one in receiver.received] == told * 2

        async def is_over() -> bool:
            done = await again.cli("redeliver", "--list", "-o", "json")
            [listed] = json.loads(done.out)["data"]
            return (listed["accepted"], listed["left"]) == (len(told), 0)

        await eventually(is_over, "the record says that it is over")
        assert await again.stop() == 0


async def test_who_misspells_a_plugin_is_told(scene):
    daemon, _, _ = scene
    done = await daemon.cli("plugins", "pause", "opps")
    assert done.code == 2
    assert "did you mean ops?" in done.err
