"""Two daemons on one database, and one of them is killed: who writes what from then on.

Both know W&B and a broker. Each knows the W&B server under a host of its own, which is
how the server tells who writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from support.databases import PostgresServer
from support.mosquitto_server import Listener, listening, mosquitto, retained
from support.program import Program
from support.running import QUICK, Running, configure, eventually, running
from support.wandb_server import KEY as WANDB_KEY
from support.wandb_server import WandbServer
from tunewatch.testing import Script, SimulatedApi

KEY = "sk-simulated"
STATUS = "tunewatch/v1/status/#"
STEPS = 30
HOSTS = ("127.0.0.1", "localhost")


@dataclass(slots=True)
class Replica:
    """A daemon, and the host under which it knows the W&B server."""

    program: Program
    host: str
    daemon: Running

    async def holds(self) -> bool:
        found = await self.daemon.metrics()
        return found.get('tunewatch_lease_held{source="research"}') == 1


@dataclass(slots=True)
class Scene:
    """Everything there is around them."""

    home: Path
    api_url: str
    port: int  #: the broker's
    server: WandbServer
    state: str

    @asynccontextmanager
    async def replica(self, program: Program, host: str) -> AsyncIterator[Replica]:
        configure(
            program,
            f'[sources.research]\napi_key = "{KEY}"\nbase_url = "{self.api_url}"\n'
            f'backfill = "all"\n{QUICK}'
            f'[plugins.mqtt]\nurl = "mqtt://127.0.0.1:{self.port}"\n'
            f'[plugins.wandb]\nurl = "{self.server.url.replace("127.0.0.1", host)}"\n'
            f'api_key = "{WANDB_KEY}"\nentity = "acme"\n',
            state=self.state,
        )
        async with running(program) as daemon:
            yield Replica(program, host, daemon)

    def program(self, host: str) -> Program:
        directory = self.home / host
        directory.mkdir()
        # Plugins of both keep theirs in one directory, as on one machine.
        return Program(directory, {"HOME": str(self.home)}, is_cold=True)


@pytest.fixture
async def scene(tmp_path, postgres_url) -> AsyncIterator[tuple[Scene, SimulatedApi]]:
    api, server = SimulatedApi(time_scale=120.0), WandbServer()
    async with AsyncExitStack() as stack:
        stack.enter_context(server.serve())
        broker = stack.enter_context(mosquitto(tmp_path / "broker"))
        url = await stack.enter_async_context(api.serve())
        yield Scene(tmp_path, url, broker.port, server, postgres_url), api


async def until_online(listener: Listener, replicas: int) -> None:
    def online() -> set[str]:
        return {one.topic for one in listener.heard if one.payload == b"online"}

    async with asyncio.timeout(20):
        while len(online()) < replicas:
            await listener.next()


async def test_who_takes_over_from_a_killed_one_goes_on_in_the_same_run_and_topics(
    scene, postgres: PostgresServer
):
    scene, api = scene
    script = Script(steps=STEPS, seconds_per_step=15.0, validating=15.0, queueing=15.0)
    runs = scene.server.runs
    programs = {host: scene.program(host) for host in HOSTS}
    async with (
        listening(scene.port, "tunewatch/#") as listener,
        scene.replica(programs[HOSTS[0]], HOSTS[0]) as one,
        scene.replica(programs[HOSTS[1]], HOSTS[1]) as other,
    ):
        await until_online(listener, 2)
        holder, heir = (one, other) if await one.holds() else (other, one)
        assert not await heir.holds()
        job = api.add_job(script).id
        state = f"tunewatch/v1/research/jobs/{job}/state"
        while not any(one.json()["step"] for one in listener.on(state)):
            await listener.next()
        await eventually(lambda: job in runs, "the run is open")
        holder.daemon.process.kill()
        await holder.daemon.process.wait()
        assert listener.on(state)[-1].json()["status"] == "running"
        assert runs[job].exits == []
        listener.heard.clear()
        # As the time would that a lease lasts: nobody is left to prolong it.
        postgres.run("UPDATE lease SET expires_at = 0", database(scene.state))
        again = await listener.until(state)  # published by the new owner
        assert not again.is_retained
        statuses = await retained(scene.port, STATUS)
        assert sorted(statuses.values()) == [b"offline", b"online"]
        async with scene.replica(holder.program, holder.host) as back:
            # It comes back as the same one, and leaves the job to who has it.
            await eventually(lambda: both_online(scene.port), "both are there again")
            await eventually(lambda: runs[job].exits[-1:] == [0], "the run is closed")
            assert await heir.holds()
            assert await back.daemon.stop() == 0
        assert await heir.daemon.stop() == 0
        for daemon in (holder.daemon, heir.daemon, back.daemon):
            assert daemon.log("mqtt.broker_gone") == []
            assert daemon.log("plugin.defect") == []
    run = runs[job]
    assert run.points == list(range(1, len(run.points) + 1))
    assert {row["train_step"] for row in run.rows} == set(range(1, STEPS + 1))
    assert run.summary["best/decision"] == "final"
    writers = [host for run, host in scene.server.writers if run == job]
    assert [host for host, _ in groupby(writers)] == [holder.host, heir.host]


async def both_online(port: int) -> bool:
    found = await retained(port, STATUS)
    return list(found.values()) == [b"online", b"online"]


def database(url: str) -> str:
    return url.rpartition("/")[2]
