"""Two daemons on one database, and one of them goes: who writes what from then on.

It is killed, stopped, or cut off from the database. Both know W&B and a broker. Each
knows the W&B server under a host of its own, which is how the server tells who writes;
offline each writes into files of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from support import wandb_records
from support.databases import PostgresServer
from support.mosquitto_server import Listener, listening, mosquitto, retained
from support.program import Program
from support.running import QUICK, Running, configure, eventually, running
from support.wandb_server import KEY as WANDB_KEY
from support.wandb_server import ServedRun, WandbServer
from support.wire import Wire, wire
from tunewatch.testing import Script, SimulatedApi

KEY = "sk-simulated"
STATUS = "tunewatch/v1/status/#"
STEPS = 30
HOSTS = ("127.0.0.1", "localhost")
SLOW = Script(steps=STEPS, seconds_per_step=15.0, validating=15.0, queueing=15.0)


@dataclass(slots=True)
class Replica:
    """A daemon, and the host under which it knows the W&B server."""

    program: Program
    host: str
    daemon: Running
    wire: Wire  #: to the database

    async def holds(self) -> bool:
        found = await self.daemon.metrics()
        return found.get('tunewatch_lease_held{source="research"}') == 1

    @property
    def files(self) -> Path:
        """Where its W&B client keeps what it writes, if it is alone there."""
        home = Path(self.program.environ["HOME"])
        return home / ".local" / "state" / "tunewatch" / "plugins" / "wandb"


@dataclass(slots=True)
class Scene:
    """Everything there is around them."""

    home: Path
    api: SimulatedApi
    api_url: str
    port: int  #: the broker's
    server: WandbServer
    state: str
    postgres: PostgresServer

    @asynccontextmanager
    async def replica(self, program: Program, host: str, account: str) -> AsyncIterator:
        async with wire(self.postgres.port) as laid:
            configure(
                program,
                f'[sources.research]\napi_key = "{KEY}"\nbase_url = "{self.api_url}"\n'
                f'backfill = "all"\n{QUICK}'
                f'[plugins.mqtt]\nurl = "mqtt://127.0.0.1:{self.port}"\n'
                f"[plugins.wandb]\n{account}",
                state=self.state.replace(f":{self.postgres.port}/", f":{laid.port}/"),
            )
            async with running(program) as daemon:
                yield Replica(program, host, daemon, laid)

    def online(self, program: Program, host: str):
        """Run one that writes to the W&B server."""
        url = self.server.url.replace("127.0.0.1", host)
        account = f'url = "{url}"\napi_key = "{WANDB_KEY}"\nentity = "acme"\n'
        return self.replica(program, host, account)

    def offline(self, program: Program, host: str):
        """Run one that writes files."""
        return self.replica(program, host, 'mode = "offline"\n')

    def program(self, host: str, *, is_alone: bool = False) -> Program:
        """Return a program; plugins of both keep theirs in one directory.

        As on one machine, but for one that is alone.
        """
        directory = self.home / host
        directory.mkdir()
        return Program(directory, {} if is_alone else {"HOME": str(self.home)})

    def run(self, sql: str) -> None:
        """Run a statement on the database that both have."""
        self.postgres.run(sql, self.state.rpartition("/")[2])

    def writers(self, job: str) -> list[str]:
        """Return who wrote to a run, one after the other."""
        hosts = [host for run, host in self.server.writers if run == job]
        return [host for host, _ in groupby(hosts)]


@pytest.fixture
async def scene(tmp_path, postgres, postgres_url) -> AsyncIterator[Scene]:
    api, server = SimulatedApi(time_scale=120.0), WandbServer()
    async with AsyncExitStack() as stack:
        stack.enter_context(server.serve())
        broker = stack.enter_context(mosquitto(tmp_path / "broker"))
        url = await stack.enter_async_context(api.serve())
        yield Scene(tmp_path, api, url, broker.port, server, postgres_url, postgres)


@asynccontextmanager
async def two(scene: Scene) -> AsyncIterator[tuple[Replica, Replica, Listener]]:
    """Run two that write to the W&B server; yield who has the source first."""
    programs = [scene.program(host) for host in HOSTS]
    async with (
        listening(scene.port, "tunewatch/#") as listener,
        scene.online(programs[0], HOSTS[0]) as one,
        scene.online(programs[1], HOSTS[1]) as other,
    ):
        await until_online(listener, 2)
        holder, heir = (one, other) if await one.holds() else (other, one)
        assert not await heir.holds()
        yield holder, heir, listener


async def until_online(listener: Listener, replicas: int) -> None:
    def online() -> set[str]:
        return {one.topic for one in listener.heard if one.payload == b"online"}

    async with asyncio.timeout(20):
        while len(online()) < replicas:
            await listener.next()


async def halfway(scene: Scene, listener: Listener) -> tuple[str, str]:
    """Wait until a new job trains; return its id and the topic of its state."""
    job = scene.api.add_job(SLOW).id
    state = f"tunewatch/v1/research/jobs/{job}/state"
    while not any(one.json()["step"] for one in listener.on(state)):
        await listener.next()
    await eventually(lambda: job in scene.server.runs, "the run is open")
    return job, state


def is_over(run: ServedRun) -> bool:
    """Whether a run is closed as its job ended, with all that was concluded of it."""
    return run.exits[-1:] == [0] and run.summary.get("best/decision") == "final"


def is_whole(run: ServedRun) -> bool:
    """Whether a run is over and has each point once."""
    assert run.points == list(range(1, len(run.points) + 1))
    assert {row["train_step"] for row in run.rows} == set(range(1, STEPS + 1))
    assert run.summary["status"] == "succeeded"
    return is_over(run)


async def test_who_takes_over_from_a_killed_one_goes_on_in_the_same_run_and_topics(
    scene,
):
    runs = scene.server.runs
    async with two(scene) as (holder, heir, listener):
        job, state = await halfway(scene, listener)
        holder.daemon.process.kill()
        await holder.daemon.process.wait()
        assert listener.on(state)[-1].json()["status"] == "running"
        assert runs[job].exits == []
        listener.heard.clear()
        # As the time would that a lease lasts: nobody is left to prolong it.
        scene.run("UPDATE lease SET expires_at = 0")
        again = await listener.until(state)  # published by the new owner
        assert not again.is_retained
        statuses = await retained(scene.port, STATUS)
        assert sorted(statuses.values()) == [b"offline", b"online"]
        async with scene.online(holder.program, holder.host) as back:
            # It comes back as the same one, and leaves the job to who has it.
            await eventually(lambda: both_online(scene.port), "both are there again")
            await eventually(lambda: is_over(runs[job]), "the run is closed")
            assert await heir.holds()
            assert await back.daemon.stop() == 0
        assert await heir.daemon.stop() == 0
        for daemon in (holder.daemon, heir.daemon, back.daemon):
            assert daemon.log("mqtt.broker_gone") == []
            assert daemon.log("plugin.defect") == []
    assert is_whole(runs[job])
    assert scene.writers(job) == [holder.host, heir.host]


async def both_online(port: int) -> bool:
    found = await retained(port, STATUS)
    return list(found.values()) == [b"online", b"online"]


async def test_who_is_stopped_leaves_runs_and_topics_as_they_are_to_the_other(scene):
    runs = scene.server.runs
    async with two(scene) as (holder, heir, listener):
        job, state = await halfway(scene, listener)
        assert await holder.daemon.stop() == 0
        await eventually(heir.holds, "the other has the source")
        # Closed as one that goes on: nobody is told that the job failed.
        assert runs[job].is_preempting
        kept = (await retained(scene.port, state))[state]
        assert json.loads(kept)["status"] == "running"
        await eventually(lambda: is_over(runs[job]), "the run is closed")
        while listener.on(state)[-1].json()["status"] != "succeeded":
            await listener.next()
        assert await heir.daemon.stop() == 0
        await listener.quiet()
        told = listener.on(state)
        assert all(one.payload for one in told), "it was never cleared"
        assert told[-1].json()["status"] == "succeeded"
    assert is_whole(runs[job])
    assert scene.writers(job) == [holder.host, heir.host]


@pytest.mark.faults
async def test_who_is_cut_off_leaves_runs_and_topics_to_the_other(scene):
    runs = scene.server.runs
    async with two(scene) as (holder, heir, listener):
        job, state = await halfway(scene, listener)
        holder.wire.cut()
        await eventually(heir.holds, "the other has the source", within=20)
        await eventually(lambda: is_over(runs[job]), "the run is closed")
        holder.wire.mend()
        await holder.daemon.logged("lease.lost")
        # It closes what it had open, as it is now, once it knows of that.
        await asyncio.sleep(5.0)
        for one in (holder, heir):
            assert await one.daemon.stop() == 0
            assert one.daemon.log("plugin.defect") == []
        await listener.quiet()
        told = [one.json()["status"] for one in listener.on(state)]
        assert told[-1] == "succeeded", told
    assert is_whole(runs[job])


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.faults)]
)
async def test_offline_who_takes_over_has_the_whole_run_in_its_own_files(scene, how):
    programs = [scene.program(host, is_alone=True) for host in HOSTS]
    async with (
        listening(scene.port, "tunewatch/#") as listener,
        scene.offline(programs[0], HOSTS[0]) as one,
        scene.offline(programs[1], HOSTS[1]) as other,
    ):
        await until_online(listener, 2)
        holder, heir = (one, other) if await one.holds() else (other, one)
        job = scene.api.add_job(SLOW).id
        await eventually(lambda: points(holder, job), "it has points")
        holder.daemon.process.send_signal(how)
        await holder.daemon.process.wait()
        if how == signal.SIGKILL:
            scene.run("UPDATE lease SET expires_at = 0")
        await eventually(heir.holds, "the other has the source")
        await eventually(lambda: has_ended(heir, job), "the run is closed")
        assert await heir.daemon.stop() == 0
    before, after = points(holder, job), points(heir, job)
    assert list(before) == list(range(1, len(before) + 1))
    assert list(after) == list(range(1, len(after) + 1)), "none is lost, none doubled"
    assert {row["train_step"] for row in after.values()} == set(range(1, STEPS + 1))
    # What both have is the same.
    assert before == {point: after[point] for point in before}
    await synced(scene, heir, job)
    assert is_whole(scene.server.runs[job])


def points(one: Replica, job: str) -> dict[int, dict[str, object]]:
    """Return the rows in a replica's files by their point; one twice is a failure."""
    found: dict[int, dict[str, object]] = {}
    for row in wandb_records.rows(one.files, job):
        ours = {key: value for key, value in row.items() if not key.startswith("_")}
        assert row["point"] not in found, row
        found[row["point"]] = ours
    return found


def has_ended(one: Replica, job: str) -> bool:
    """Whether a run is over in a replica's files."""
    ends = [end.exit_code for end in wandb_records.read(one.files, job, "exit")]
    told = {
        item.key or "/".join(item.nested_key): item.value_json
        for summary in wandb_records.read(one.files, job, "summary")
        for item in summary.update
    }
    return ends[-1:] == [0] and told.get("best/decision") == '"final"'


async def synced(scene: Scene, one: Replica, job: str) -> None:
    """Let W&B's own program send what a replica has of a run."""
    parts = sorted(one.files.glob(f"wandb/offline-run-*-{job}"))
    assert parts
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("wandb")),
        *("sync", "--yes", "--entity", "acme", *map(str, parts)),
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("WANDB")},
            "WANDB_BASE_URL": scene.server.url,
            "WANDB_API_KEY": WANDB_KEY,
            "WANDB_ERROR_REPORTING": "false",
            "HOME": str(scene.home),
        },
        cwd=scene.home,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, words = await process.communicate()
    assert process.returncode == 0, words.decode()
