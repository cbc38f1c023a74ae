"""SIGHUP and what plugins hold open: sessions at a broker, runs at W&B."""

from __future__ import annotations

import signal
import time

import pytest

from support.mosquitto_server import listening, mosquitto
from support.program import Program
from support.running import QUICK, configure, eventually, running
from support.wandb_server import KEY as WANDB_KEY
from support.wandb_server import WandbServer
from tunewatch.testing import SimulatedApi, SimulatedClock

KEY = "sk-simulated"
STEPS = 40
A_THIRD = 220.0
"""Simulated s: of the life of a job, from queueing to its end."""


@pytest.fixture
def api():
    """Lend an API whose time is ours to move."""
    clock = SimulatedClock(start=time.time() - 4 * 3600.0, scale=0)
    return SimulatedApi(clock=clock)


def begin(api):
    return api.add_job(
        steps=STEPS, seconds_per_step=15.0, validating=5.0, queueing=5.0
    ).id


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


def source(url, poll="200ms"):
    keys = QUICK.replace('poll_interval = "200ms"', f'poll_interval = "{poll}"')
    return (
        f'[sources.research]\napi_key = "{KEY}"\nbase_url = "{url}"\n'
        f'backfill = "all"\n{keys}'
    )


async def reload(daemon, program, text):
    before = len(daemon.log("config.reloaded"))
    configure(program, text)
    daemon.process.send_signal(signal.SIGHUP)
    await eventually(
        lambda: len(daemon.log("config.reloaded")) > before, "it is reloaded"
    )


async def test_a_session_at_a_broker_outlives_what_is_not_its_own(
    program, tmp_path, api
):
    job = begin(api)
    told = f"tunewatch/v1/research/jobs/{job}/events/"
    with mosquitto(tmp_path / "broker") as broker:
        mqtt = f'[plugins.mqtt]\nurl = "{broker.url}"\n'
        status = "tunewatch/v1/status/#"
        async with (
            api.serve() as url,
            listening(broker.port, f"{told}#", status) as listener,
        ):
            configure(program, source(url) + mqtt)
            async with running(program) as daemon:
                api.clock.advance(A_THIRD)
                await listener.until(f"{told}fine_tuning.job.running")
                # Another source and another plugin: nothing of the session's own.
                await reload(
                    daemon,
                    program,
                    source(url, "300ms") + mqtt + "[plugins.prometheus]\nwindow='2h'\n",
                )
                before = len(listener.on(f"{told}fine_tuning.event.metrics"))
                api.clock.advance(A_THIRD)
                while len(listener.on(f"{told}fine_tuning.event.metrics")) == before:
                    await listener.next()
                statuses = [
                    one.payload for one in listener.heard if "/status/" in one.topic
                ]
                assert statuses == [b"online"], "the session is the same"
                # Its own: it says goodbye, and the next one goes on behind it.
                await reload(
                    daemon, program, source(url, "300ms") + mqtt + "window = '2h'\n"
                )
                api.clock.advance(9 * A_THIRD)
                await listener.until(f"{told}tunewatch.job.settled")
                statuses = [
                    one.payload for one in listener.heard if "/status/" in one.topic
                ]
                assert statuses == [b"online", b"offline", b"online"]
                assert await daemon.stop() == 0
            assert not daemon.log("plugin.defect")
    events = [one.json() for one in listener.heard if told in one.topic]
    numbers = [one["data"]["sequence"] for one in events]
    assert numbers == sorted(set(numbers)), "nothing twice, nothing out of order"
    (run,) = {one["data"]["id"] for one in events}
    points = [point["n"] for one in events for point in one["data"].get("points") or ()]
    assert points == list(range(1, STEPS + 1)), "nothing lost"
    assert run == job


@pytest.mark.faults
async def test_a_run_at_wandb_is_whole_over_reloads(program, api):
    job = begin(api)
    server = WandbServer()
    with server.serve() as wandb_url:
        wandb = (
            f'[plugins.wandb]\nurl = "{wandb_url}"\napi_key = "{WANDB_KEY}"\n'
            'entity = "acme"\n'
        )
        async with api.serve() as url:
            configure(program, source(url) + wandb)
            async with running(program) as daemon:
                api.clock.advance(A_THIRD)
                await eventually(
                    lambda: job in server.runs and server.runs[job].history,
                    "a point is told",
                )
                await reload(daemon, program, source(url, "300ms") + wandb)
                points = len(server.runs[job].history)
                api.clock.advance(A_THIRD)
                await eventually(
                    lambda: len(server.runs[job].history) > points, "it goes on"
                )
                assert not server.runs[job].exits, "the run was never closed"
                # Its own: closed in order, and taken up by the next.
                await reload(
                    daemon,
                    program,
                    source(url, "300ms") + wandb + 'alerts = ["failed"]\n',
                )
                api.clock.advance(9 * A_THIRD)
                await eventually(
                    lambda: (
                        server.runs[job].summary.get("best/decision") == "final"
                        and server.runs[job].exits[-1:] == [0]
                    ),
                    "it is closed as its job ended",
                )
                assert await daemon.stop() == 0
            assert not daemon.log("plugin.defect")
    run = server.runs[job]
    assert run.points == list(range(1, len(run.points) + 1))
    assert {row["train_step"] for row in run.rows} == set(range(1, STEPS + 1))
