"""The real daemon and a real broker: what a receiver hears, and what stands there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest

from support.acknowledgements import watched
from support.mosquitto_server import Listener, listening, mosquitto, retained
from support.program import Program
from support.running import QUICK, Running, configure, eventually, running
from tunewatch.testing import SimulatedApi

KEY = "sk-simulated"
SPEED = 1000.0  # simulated seconds per second
STATUS = "tunewatch/v1/status/#"


@pytest.fixture
def broker(tmp_path):
    with mosquitto(tmp_path / "broker") as started:
        yield started


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
def api():
    return SimulatedApi(time_scale=SPEED)


@asynccontextmanager
async def daemon_of(
    api: SimulatedApi, program: Program, port: int, *, state: str | None = None
) -> AsyncIterator[Running]:
    """Run a daemon that publishes to a broker on a port of loopback."""
    async with api.serve() as url:
        configure(
            program,
            # Under two addresses the simulated API would be two.
            f'[sources.research]\napi_key = "{KEY}"\nbase_url = "{url}"\n'
            f'realm = "simulated"\nbackfill = "all"\n{QUICK}'
            f'[plugins.mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n',
            state=state,
        )
        async with running(program) as daemon:
            yield daemon


def committed(program: Program, sql: str) -> list[tuple[str]]:
    with closing(sqlite3.connect(program.directory / "state.db")) as store:
        return store.execute(sql).fetchall()


async def until_settled(listener: Listener, job: str) -> None:
    topic = f"tunewatch/v1/research/jobs/{job}/events/tunewatch.job.settled"
    await listener.until(topic)


async def test_a_receiver_hears_each_job_s_story_and_a_late_one_how_it_ended(
    api, broker, program
):
    good = api.add_job(suffix="good", steps=20, validate_every=5)
    broken = api.add_job(suffix="broken", steps=20, outcome="failed")
    graded = api.add_job(suffix="graded", steps=20, method="reinforcement")
    jobs = [good.id, broken.id, graded.id]
    async with (
        listening(broker.port, "tunewatch/#") as listener,
        daemon_of(api, program, broker.port) as daemon,
    ):
        for job in jobs:
            await until_settled(listener, job)
        await eventually(
            lambda: _are_over(broker.port, jobs), "the states say how it ended"
        )
        assert await daemon.stop() == 0
        assert not daemon.log("plugin.defect")
    for job in jobs:
        told = [
            one
            for one in listener.heard
            if f"/{job}/events/" in one.topic and not one.is_retained
        ]
        sequences = [one.json()["data"]["sequence"] for one in told]
        assert sequences == sorted(set(sequences))
        assert all(one.topic.endswith(one.json()["type"]) for one in told)
    (statuses,) = [(await retained(broker.port, STATUS)).values()]
    assert list(statuses) == [b"offline"]


async def _are_over(port: int, jobs: list[str]) -> bool:
    found = await retained(port, "tunewatch/v1/research/jobs/+/state")
    states = {state["id"]: state for state in map(json.loads, found.values())}
    if set(states) != set(jobs):
        return False
    good, broken, graded = (states[job] for job in jobs)
    return (
        (good["status"], good["progress"]) == ("succeeded", 100)
        and good["best"]["decision"] == "final"
        and broken["status"] == "failed"
        and "train_mean_reward" in graded["metrics"]
    )


async def test_the_last_will_speaks_after_a_kill_and_the_next_life_is_the_same_replica(
    api, broker, program
):
    async with listening(broker.port, STATUS) as listener:
        for _ in range(2):
            listener.heard.clear()
            async with daemon_of(api, program, broker.port) as daemon:
                while not any(one.payload == b"online" for one in listener.heard):
                    await listener.next()
                daemon.process.kill()
                while listener.heard[-1].payload != b"offline":
                    await listener.next()
            topics = {one.topic for one in listener.heard if STATUS[:-1] in one.topic}
    assert len(await retained(broker.port, STATUS)) == len(topics) == 1


async def test_two_replicas_share_a_broker_and_one_goes_on_where_the_other_stopped(
    api, broker, tmp_path, postgres_url
):
    home = tmp_path / "home"  # and with it the directory that plugins keep theirs in
    for directory in (home, tmp_path / "one", tmp_path / "two"):
        directory.mkdir()
    one, two = (
        Program(tmp_path / name, {"HOME": str(home)}) for name in ("one", "two")
    )
    job = api.add_job(steps=40).id
    state = f"tunewatch/v1/research/jobs/{job}/state"
    async with (
        listening(broker.port, "tunewatch/#") as listener,
        daemon_of(api, two, broker.port, state=postgres_url) as other,
        daemon_of(api, one, broker.port, state=postgres_url) as first,
    ):
        await listener.until(state)
        online = await retained(broker.port, STATUS)
        assert list(online.values()) == [b"online", b"online"]
        holder, heir = (first, other) if await holds(first) else (other, first)
        assert await holder.stop() == 0
        listener.heard.clear()
        await listener.until(state)  # published again by the other one
        while listener.on(state)[-1].json()["status"] != "succeeded":
            await listener.next()
        statuses = await retained(broker.port, STATUS)
        assert sorted(statuses.values()) == [b"offline", b"online"]
        assert not holder.log("mqtt.broker_gone") + heir.log("mqtt.broker_gone")
        assert await heir.stop() == 0


async def holds(daemon: Running) -> bool:
    """Whether a daemon has the source."""
    found = await daemon.metrics()
    return found['tunewatch_lease_held{source="research"}'] == 1


async def test_while_the_broker_is_away_events_wait_and_none_is_taken_for_told(
    api, broker, program
):
    api.add_job(steps=20)
    async with (
        watched(broker.port) as way,
        daemon_of(api, program, way.port) as daemon,
    ):
        await eventually(lambda: len(way.acknowledged) > 3, "some are told")
        broker.kill()
        gone = await daemon.logged("mqtt.broker_gone", plugin="mqtt")
        assert gone["level"] == "warning"
        trouble = await daemon.logged("plugin.trouble_began", plugin="mqtt")
        assert "no broker at 127.0.0.1:" in trouble["reason"]
        before = set(way.acknowledged)
        broker.start()
        await daemon.logged("mqtt.broker_back", plugin="mqtt")

        def all_told() -> bool:
            ids = {name for (name,) in committed(program, "SELECT id FROM event")}
            return ids == way.acknowledged > before

        await eventually(all_told, "all is told")
        assert len(daemon.log("mqtt.broker_gone")) == 1
        assert await daemon.stop() == 0
    left = committed(
        program,
        "SELECT e.id FROM event e, mark m WHERE m.plugin = 'mqtt'"
        " AND e.position > m.position",
    )
    assert left == []
