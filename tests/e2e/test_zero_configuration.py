"""`tunewatch run` without a file, and `run --once`."""

from __future__ import annotations

import base64
import json
import sqlite3
from typing import Any

import pytest

from support.program import Program
from support.running import QUICK, Running, configure, ended, eventually, running
from support.simulated_org import simulated
from tunewatch.testing import Receiver, Reply

KEY = "sk-zero"
SECRET = "whsec_" + base64.b64encode(b"z" * 32).decode()


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path, is_cold=True)


@pytest.fixture
async def api():
    async with simulated(KEY) as served:
        yield served


def environment(program: Program, url: str) -> None:
    program.environ |= {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url}


async def test_a_key_in_the_environment_is_enough(program, api):
    made, url = api
    environment(program, url)
    job = made.add_job(project="project-0", suffix="router", outcome="paused")
    async with running(program) as daemon:
        await is_in_metrics(daemon, job.id)
        listed = await daemon.cli("jobs", "-o", "json")
        [row] = json.loads(listed.out)["data"]
        assert (row["source"], row["job"]["id"]) == ("openai", job.id)
        assert await daemon.stop() == 0
    home = program.directory / "home"
    state = home / ".local" / "state" / "tunewatch"
    assert (state / "state.db").exists()
    assert (state / "state.db").stat().st_mode & 0o077 == 0
    assert KEY not in daemon.said.read_text()


async def is_in_metrics(daemon: Running, job: str) -> None:
    async def is_there() -> bool:
        _, body, _ = await daemon.get("/metrics")
        return f'job_id="{job}"' in body

    await eventually(is_there, "the job is in /metrics")


async def test_the_state_follows_xdg(program, api):
    _, url = api
    environment(program, url)
    place = program.directory / "elsewhere"
    program.environ["XDG_STATE_HOME"] = str(place)
    assert (await ended(program, "run", "--once")).code == 0
    assert (place / "tunewatch" / "state.db").exists()


@pytest.mark.parametrize(
    "sign", ["INVOCATION_ID", "NOTIFY_SOCKET", "KUBERNETES_SERVICE_HOST"]
)
async def test_a_service_without_a_file_says_what_to_do(program, api, sign):
    _, url = api
    environment(program, url)
    program.environ[sign] = "x"
    done = await ended(program, "run")
    assert (done.code, done.out) == (2, "")
    assert "--config" in done.err
    assert "tunewatch config --example" in done.err
    assert not list(program.directory.glob("home/.local/state/**/*.db"))


async def test_no_key_and_no_file_is_told_with_what_to_do(program):
    done = await ended(program, "run")
    assert done.code == 2
    assert "OPENAI_API_KEY" in done.err


def once_config(url: str, hook: str, *, more: str = "") -> str:
    return f"""
[source_defaults]
base_url = "{url}"
{QUICK}
[sources.research]
api_key = "{KEY}"
{more}
[plugins.ops]
kind = "webhook"
url = "{hook}"
secret = "{SECRET}"
allow_hosts = ["127.0.0.1"]
events = ["*"]
"""


async def test_once_delivers_the_backlog_and_ends_with_0(program, api):
    made, url = api
    receiver = Receiver(secrets=[SECRET])
    async with receiver.serve() as hook:
        configure(program, once_config(url, hook))
        assert (await ended(program, "run", "--once")).code == 0  # first contact
        jobs = made.put_many(20, project="project-0", steps=5, outcome="paused")
        receiver.usual = Reply(status=503)
        first = await ended(program, "run", "--once")
        assert first.code == 0, first.err
        assert receiver.accepted == []
        receiver.usual = Reply(status=200)
        second = await ended(program, "run", "--once")
        assert second.code == 0, second.err
    told = {one.json()["data"]["id"] for one in receiver.accepted}
    assert told == {job.id for job in jobs}
    with sqlite3.connect(program.directory / "state.db") as store:
        [(events,)] = store.execute("SELECT count(*) FROM event")
    assert len({one.id for one in receiver.accepted}) == events
    assert len(receiver.accepted) == events


async def test_once_does_the_rest_and_ends_with_69_if_a_source_failed(program, api):
    made, url = api
    receiver = Receiver(secrets=[SECRET])
    async with receiver.serve() as hook:
        refused = '[sources.refused]\napi_key = "sk-nobody"\n'
        configure(program, once_config(url, hook, more=refused))
        made.add_job(project="project-0", outcome="paused")
        done = await ended(program, "run", "--once")
    assert done.code == 69, done.err
    told = {(e["data"]["source"], e["type"].split(".")[1]) for e in heard(receiver)}
    assert ("research", "job") in told
    assert {kind for source, kind in told if source == "refused"} <= {"source"}
    troubles = [
        line
        for line in map(json.loads, done.err.splitlines())
        if line["event"] == "source.trouble"
    ]
    assert [line["source"] for line in troubles] == ["refused"]


def heard(receiver: Receiver) -> list[dict[str, Any]]:
    return [one.json() for one in receiver.accepted]
