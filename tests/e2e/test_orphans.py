"""A source that left the configuration while something waited."""

from __future__ import annotations

import base64
import json
from contextlib import AsyncExitStack

import pytest

from support.program import Program
from support.running import QUICK, Running, configure, eventually, running
from support.simulated_org import simulated
from tunewatch.testing import Receiver, Reply

SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
OLD, SAME, OTHER = "sk-old", "sk-same-project", "sk-other-project"


def source(name: str, url: str, key: str) -> str:
    return (
        f'[sources.{name}]\nbase_url = "{url}"\napi_key = "{key}"\n'
        f'backfill = "all"\n{QUICK}'
    )


def hook(url: str) -> str:
    return (
        f'[plugins.ops]\nkind = "webhook"\nurl = "{url}"\nsecret = "{SECRET}"\n'
        'allow_hosts = ["127.0.0.1"]\nevents = ["*"]\n'
    )


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
async def scene(program):
    """An API with a job under way, and a receiver that refuses everything for now."""
    async with AsyncExitStack() as stack:
        api, url = await stack.enter_async_context(simulated(OLD, OTHER))
        api.add_key(SAME, project="project-0")
        receiver = Receiver(secrets=[SECRET])
        receiver.usual = Reply(status=503)
        to = hook(await stack.enter_async_context(receiver.serve()))
        job = api.add_job(project="project-0", steps=10, outcome="paused", at=0.5)
        yield api, url, receiver, to, job.id


async def journal(daemon: Running) -> dict[str, str]:
    """Return which source each job belongs to, as a person sees it."""
    listed = json.loads((await daemon.cli("jobs", "-o", "json")).out)["data"]
    return {job["job"]["id"]: job["source"] for job in listed}


async def told_of(daemon: Running, job: str) -> bool:
    shown = await daemon.cli("show", job, "-o", "json")
    return shown.code == 0 and json.loads(shown.out)["job"]["status"] == "paused"


async def test_what_waits_is_delivered_before_the_jobs_pass_to_who_sees_them(
    program, scene
):
    api, url, receiver, to, job = scene
    configure(program, source("old", url, OLD) + to)
    async with running(program) as daemon:
        await eventually(lambda: told_of(daemon, job), "the job is known")
        await eventually(lambda: receiver.received, "a delivery was refused")
        assert await daemon.stop() == 0
    assert receiver.accepted == []

    others = source("other", url, OTHER) + source("heir", url, SAME)
    configure(program, others + to)
    async with running(program) as daemon:
        assert (await daemon.part("sources", "old"))["state"] == "orphaned"
        await daemon.logged("poll.owned_by_another_source", job=job, source="heir")
        assert await journal(daemon) == {job: "old"}
        assert not daemon.log("orphan.passed_on")
        receiver.usual = Reply(status=200)
        await daemon.logged("orphan.passed_on", source="old", to="heir")
        assert await journal(daemon) == {job: "heir"}
        api.set_status(job, "cancelled")
        await receiver.wait_until(
            lambda got: got[-1].json()["type"] == "fine_tuning.job.cancelled",
            within=30,
        )
        assert await daemon.stop() == 0
    told = {one.id: one.json() for one in receiver.accepted}
    sequences = [event["data"]["sequence"] for event in told.values()]
    assert sequences == sorted(sequences)
    sources = [event["data"]["source"] for event in told.values()]
    assert set(sources) == {"old", "heir"}
    assert sources.index("heir") == sources.count("old")
    types = [event["type"] for event in told.values()]
    assert types.count("tunewatch.job.discovered") == 1
    assert types.count("fine_tuning.job.paused") == 1


async def test_a_source_of_another_project_inherits_nothing(program, scene):
    _, url, receiver, to, job = scene
    receiver.usual = Reply(status=200)
    configure(program, source("old", url, OLD) + to)
    async with running(program) as daemon:
        await eventually(lambda: told_of(daemon, job), "the job is known")
        assert await daemon.stop() == 0
    configure(program, source("other", url, OTHER) + to)
    async with running(program, "--once") as daemon:
        assert await daemon.process.wait() == 0
        assert not daemon.log("orphan.passed_on")
        assert daemon.log("orphan.delivering")
        assert await journal(daemon) == {job: "old"}


async def test_a_source_that_returns_goes_on_where_it_was(program, scene):
    api, url, receiver, to, job = scene
    receiver.usual = Reply(status=200)
    configure(program, source("old", url, OLD) + to)
    async with running(program) as daemon:
        await eventually(lambda: told_of(daemon, job), "the job is known")
        assert await daemon.stop() == 0
    configure(program, source("other", url, OTHER) + to)
    async with running(program) as daemon:
        await daemon.logged("orphan.delivering", source="old")
        assert await daemon.stop() == 0
    before = [one.id for one in receiver.accepted]
    api.set_status(job, "cancelled")
    configure(program, source("old", url, OLD) + to)
    async with running(program) as daemon:
        await receiver.wait_until(
            lambda got: got[-1].json()["type"] == "fine_tuning.job.cancelled",
            within=30,
        )
        assert await daemon.stop() == 0
    ids = [one.id for one in receiver.accepted]
    assert ids[: len(before)] == before
    assert len(set(ids)) == len(ids)
