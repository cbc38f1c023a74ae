"""The operator API of a real daemon, as its operator uses it."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.operator_api import Followed
from support.program import Program
from support.running import QUICK, Running, configure, eventually, running
from support.simulated_org import simulated
from tunewatch.testing import Receiver, Reply, SimulatedApi

KEY = "sk-operating"
SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
TOKEN = "operator-token-0815"
ROOT = "/api/v1"
BEARER = {"Authorization": f"Bearer {TOKEN}"}

Scene = tuple[Running, SimulatedApi, Receiver]


def configured(program: Program, api_url: str, hook: str) -> None:
    token = program.directory / "operator-token"
    token.write_text(TOKEN)
    configure(
        program,
        f'api_token_file = "{token}"\n'
        f'[sources.a]\nbase_url = "{api_url}"\napi_key = "{KEY}"\n{QUICK}'
        f'[plugins.ops]\nkind = "webhook"\nurl = "{hook}"\nsecret = "{SECRET}"\n'
        'allow_hosts = ["127.0.0.1"]\nevents = ["@status"]\n',
    )


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    program = Program(tmp_path)
    receiver = Receiver(secrets=[SECRET])
    async with AsyncExitStack() as stack:
        api, url = await stack.enter_async_context(simulated(KEY))
        hook = await stack.enter_async_context(receiver.serve())
        configured(program, url, hook)
        yield await stack.enter_async_context(running(program)), api, receiver


async def test_a_job_is_followed_from_its_beginning_to_the_choice(scene):
    daemon, api, receiver = scene
    url = f"http://127.0.0.1:{daemon.port}{ROOT}"
    async with daemon.session.get(f"{url}/events/stream?type=@status") as answer:
        stream = Followed(answer)
        await stream.block()
        job = api.add_job(project="project-0", steps=10)
        seen = []
        while not seen or seen[-1]["type"] != "fine_tuning.job.succeeded":
            seen.append(await stream.event())
    assert {event["data"]["id"] for event in seen} == {job.id}
    got = await receiver.wait_until(
        lambda got: bool(got) and got[-1].json()["type"].endswith("succeeded"),
        within=30,
    )
    # The same bytes on both ways out.
    assert {post.body for post in got} == {
        block.data.encode() for block in stream.seen if block.data
    }

    async def is_final() -> bool:
        _, body, _ = await daemon.get(f"{ROOT}/jobs/{job.id}/best")
        return json.loads(body)["decision"] == "final"

    await eventually(is_final, "the choice is final")
    best = (await daemon.cli("best", job.id)).out.strip()
    there = await daemon.cli("best", job.id, "--url", f"http://127.0.0.1:{daemon.port}")
    assert there.out.strip() == best != ""


async def test_how_parts_are_is_told_as_the_process_knows_it(scene):
    daemon, api, _ = scene

    async def state() -> str:
        _, body, _ = await daemon.get(f"{ROOT}/sources")
        return json.loads(body)["data"][0]["state"]

    async def is_up() -> bool:
        return await state() == "up"

    await eventually(is_up, "the source is up")
    api.revoke_key(KEY)

    async def is_refused() -> bool:
        return await state() == "refused"

    await eventually(is_refused, "the key is refused")
    _, body, _ = await daemon.get(f"{ROOT}/plugins")
    plugins = {one["name"]: one for one in json.loads(body)["data"]}
    assert (plugins["ops"]["kind"], plugins["ops"]["state"]) == ("webhook", "up")
    assert plugins["ops"]["events"] == ["@status"]


async def test_a_plugin_is_paused_over_http_with_the_token_alone(scene):
    daemon, _, _ = scene
    path = f"{ROOT}/plugins/ops/pause"
    assert (await daemon.get(path, "POST"))[0] == 401
    tokens = daemon.program.directory / "operator-token"
    named = await daemon.cli("secret", "--token", "night-shift")
    line = named.err.removeprefix("for daemon.api_token_file: ")
    tokens.write_text(f"{TOKEN}\n{line}")  # counts at once
    bearer = {"Authorization": f"Bearer {named.out.strip()}"}
    assert (await daemon.get(path, "POST", **bearer))[0] == 202
    asked = await daemon.logged("operator.asked")
    assert (asked["what"], asked["by"]) == ("pause_plugin", "night-shift")

    async def is_paused() -> bool:
        return (await daemon.part("plugins", "ops"))["state"] == "paused"

    await eventually(is_paused, "it is paused")
    url = f"http://127.0.0.1:{daemon.port}"
    refused = await daemon.cli("plugins", "--url", url, "resume", "ops")
    assert refused.code == 2
    assert "--token-file" in refused.err
    daemon.program.environ["TUNEWATCH_TOKEN"] = TOKEN
    assert (await daemon.cli("plugins", "--url", url, "resume", "ops")).code == 0
    for where in ((), ("--url", url)):
        told = json.loads((await daemon.cli("audit", *where, "-o", "json")).out)
        assert [(one["by"], one["what"]) for one in told["data"]] == [
            ("api:127.0.0.1", "resume_plugin"),
            ("night-shift", "pause_plugin"),
        ]

    async def is_up() -> bool:
        return not await is_paused()

    await eventually(is_up, "it goes on")


async def test_a_job_is_looked_at_at_once_when_somebody_asks(tmp_path):
    program = Program(tmp_path)
    async with simulated(KEY) as (api, url):
        job = api.add_job(project="project-0", steps=2000)
        configured(program, url, "http://127.0.0.1:1/")
        config = tmp_path / "tunewatch.toml"
        slow = 'poll_interval = "1h"\nidle_interval = "1h"'
        text = config.read_text().replace(QUICK, f'{slow}\nbackfill = "all"\n')
        config.write_text(text)
        async with running(program) as daemon:

            async def is_known() -> bool:
                return (await daemon.get(f"{ROOT}/jobs/{job.id}"))[0] == 200

            await eventually(is_known, "the job is known")

            def looks() -> int:
                return sum(job.id in one.path for one in api.requests)

            before = looks()
            path = f"{ROOT}/jobs/{job.id}/look"
            assert (await daemon.get(path, "POST", **BEARER))[0] == 202
            await eventually(lambda: looks() > before, "it is looked at")


async def test_streams_end_at_once_when_the_daemon_stops(scene):
    daemon, _, _ = scene
    url = f"http://127.0.0.1:{daemon.port}{ROOT}/events/stream"
    async with daemon.session.get(url) as answer:
        await answer.content.readline()
        assert await daemon.stop(signal.SIGTERM) == 0
        assert (await answer.content.read()).endswith(b"\n\n")


async def test_what_a_receiver_refused_is_delivered_again_when_somebody_asks(scene):
    daemon, api, receiver = scene
    receiver.usual = Reply(status=400, body=b"no such thing")
    api.add_job(project="project-0", steps=10, outcome="cancelled")
    url = f"{ROOT}/deliveries?outcome=failed"

    async def has_failed() -> bool:
        return bool(json.loads((await daemon.get(url))[1])["data"])

    await eventually(has_failed, "a delivery has failed")
    failed = json.loads((await daemon.get(url))[1])["data"][-1]
    assert (failed["status"], failed["answer"]) == (400, "no such thing")
    receiver.usual = Reply()
    path = f"{ROOT}/deliveries/{failed['id']}/redeliver"
    assert (await daemon.get(path, "POST"))[0] == 401
    status, body, _ = await daemon.get(path, "POST", **BEARER)
    assert status == 202, body
    made = json.loads(body)["id"]

    async def is_over() -> bool:
        _, body, _ = await daemon.get(f"{ROOT}/redeliveries/{made}")
        told = json.loads(body)
        return told["left"] == 0 and told["accepted"] == 1

    await eventually(is_over, "it was accepted")
    sent = [one for one in receiver.received if one.id == failed["event_id"]]
    assert len(sent) > 1
    assert len({one.body for one in sent}) == 1
    there = f"http://127.0.0.1:{daemon.port}"
    for arguments in (("--redelivery", str(made)), ("--outcome", "failed")):
        done = await daemon.cli("deliveries", *arguments, "-o", "json")
        told = await daemon.cli("deliveries", *arguments, "-o", "json", "--url", there)
        assert json.loads(done.out)["data"] == json.loads(told.out)["data"] != []
