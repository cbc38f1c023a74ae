"""OpenAI's webhooks from outside: acted on at once, and only if OpenAI sent them."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.program import Program
from support.receiver_server import free_port
from support.running import Running, configure, ended, eventually, running
from tunewatch.testing import (
    Receiver,
    ServedJob,
    SimulatedApi,
    SimulatedClock,
    WebhookSender,
)
from tunewatch.testing.signatures import signed
from tunewatch.testing.webhooks import event

KEY = "sk-inbound-canary"
INBOUND, SECOND, OUTBOUND = (
    "whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"i", b"j", b"o")
)
SUCCEEDED = "fine_tuning.job.succeeded"
A_MINUTE = 'poll_interval = "1m"\nidle_interval = "1m"\n'
TOTAL = 'tunewatch_inbound_webhooks_total{outcome="%s",source="research"}'


@dataclass(slots=True)
class Scene:
    """An API whose time stands still, a receiver, and what runs between them."""

    program: Program
    api: SimulatedApi
    receiver: Receiver
    tables: str

    def configure(self, more: str = "", *, state: str | None = None) -> None:
        (self.program.directory / "inbound").write_text(INBOUND)
        configure(self.program, more.join(self.tables.split("MORE")), state=state)

    def running_job(self) -> ServedJob:
        """Add a job that is in the middle of its training."""
        job = self.api.add_job(steps=50, start=self.api.clock.now() - 600)
        assert job.ends_at is not None
        assert job.ends_at > self.api.clock.now()
        return job

    async def until_watched(self, *jobs: ServedJob) -> None:
        for job in jobs:
            await self.api.requests.wait_for(f"GET */{job.id}/events*", within=30)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    api = SimulatedApi(clock=SimulatedClock(scale=0))
    api.add_key(KEY)
    receiver = Receiver(secrets=[OUTBOUND])
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(api.serve())
        told = await stack.enter_async_context(receiver.serve())
        tables = (
            f'[sources.research]\nbase_url = "{url}"\napi_key = "{KEY}"\n{A_MINUTE}'
            f'webhook_secret_file = "{tmp_path}/inbound"\nMORE\n'
            f'[plugins.ops]\nkind = "webhook"\nurl = "{told}"\nsecret = "{OUTBOUND}"\n'
            f'allow_hosts = ["127.0.0.1"]\nevents = ["@terminal"]\n'
        )
        yield Scene(Program(tmp_path), api, receiver, tables)


def hook(daemon: Running) -> str:
    return f"http://127.0.0.1:{daemon.port}/hooks/openai/research"


async def post(
    daemon: Running, body: bytes, headers: dict[str, str], source: str = "research"
) -> int:
    url = f"http://127.0.0.1:{daemon.port}/hooks/openai/{source}"
    async with daemon.session.post(url, data=body, headers=headers) as answer:
        daemon.answers.append(await answer.text())
        return answer.status


async def post_signed(
    daemon: Running, body: bytes, *, ident: str, secret: str = INBOUND, at: float = 0.0
) -> int:
    now = time.time() + at
    return await post(daemon, body, signed(ident, body, secret=secret, now=now))


async def told(receiver: Receiver, job: ServedJob) -> float:
    """Wait until a job is told to have succeeded; return when (monotonic)."""

    def about(got: Any) -> list[Any]:
        return [
            one
            for one in got
            if one.json()["type"] == SUCCEEDED and one.json()["data"]["id"] == job.id
        ]

    got = await receiver.wait_until(lambda got: bool(about(got)), within=30)
    return float(about(got)[0].at)


async def test_a_finished_job_is_told_within_a_second_of_the_webhook(scene):
    scene.configure("requests_per_minute = 600\n")
    jobs = [scene.running_job() for _ in range(5)]
    seconds = []
    async with running(scene.program) as daemon:
        await scene.until_watched(*jobs)
        sender = WebhookSender(api=scene.api, url=hook(daemon), secret=INBOUND)
        async with sender.sending():
            for job in sorted(jobs, key=lambda job: job.ends_at):
                scene.api.clock.advance_to(job.ends_at)
                at = await told(scene.receiver, job)
                sent = next(one for one in sender.sent if one.job_id == job.id)
                seconds.append(at - sent.at)
        series = await daemon.metrics()
        assert await daemon.stop() == 0
    assert {one.status for one in sender.sent} == {204}
    assert series[TOTAL % "accepted"] == 5
    # The poll would have taken a minute; the machine may be busy for one of them.
    assert sorted(seconds)[2] < 1.0, seconds
    assert max(seconds) < 20.0, seconds


async def test_a_replica_that_has_not_the_source_lets_the_owner_look(
    scene, postgres_url, tmp_path_factory
):
    scene.configure(state=postgres_url)
    job = scene.running_job()
    async with running(scene.program) as owner:
        await scene.until_watched(job)
        other = Program(tmp_path_factory.mktemp("replica"), dict(scene.program.environ))
        async with running(other) as standby:
            assert (await standby.part("sources", "research"))["state"] == "standby"
            scene.api.clock.advance_to(job.ends_at)
            for _ in range(3):  # repeats write no further rows
                ending = event(job.id, "succeeded", at=1)
                assert await post_signed(standby, ending, ident="wh_1") == 204
            sent = time.monotonic()
            assert await told(scene.receiver, job) - sent < 20
            series = await standby.metrics()
            assert series[TOTAL % "accepted"] == 1
            assert series[TOTAL % "duplicate"] == 2
            assert await standby.stop() == 0
        assert (await owner.metrics())[TOTAL % "accepted"] == 0
        assert await owner.stop() == 0


async def test_repeats_and_replays_cost_nothing_and_tell_nothing(scene):
    scene.configure()
    job, barrier = scene.running_job(), scene.running_job()
    async with running(scene.program) as daemon:
        await scene.until_watched(job, barrier)
        scene.api.clock.advance_to(job.ends_at)
        scene.api.requests.clear()
        body = event(job.id, "succeeded", at=1)
        first = signed("wh_1", body, secret=INBOUND, now=time.time())
        assert await post(daemon, body, first) == 204
        await told(scene.receiver, job)
        for _ in range(100):
            assert await post(daemon, body, first) == 204  # replayed
        for _ in range(100):
            assert await post_signed(daemon, body, ident="wh_1") == 204  # sent again
        other = event(barrier.id, "succeeded", at=1)
        assert await post_signed(daemon, other, ident="wh_2") == 204
        await scene.api.requests.wait_for(f"GET */{barrier.id}/events*")
        assert scene.api.requests.count(f"GET */{job.id}") == 1
        series = await daemon.metrics()
        assert series[TOTAL % "duplicate"] == 200
        assert series[TOTAL % "accepted"] == 2
        assert await daemon.stop() == 0
    # The other job goes on: a webhook that says otherwise is no event.
    assert [one.json()["data"]["id"] for one in scene.receiver.accepted] == [job.id]


JUNK = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


async def test_what_is_forged_or_garbage_never_leads_to_a_request(scene):
    scene.configure()
    job = scene.running_job()
    async with running(scene.program) as daemon:
        await scene.until_watched(job)
        scene.api.requests.clear()
        now = time.time()
        true = event(job.id, "succeeded", at=1)
        good = signed("wh_true", true, secret=INBOUND, now=now)
        loop, count = asyncio.get_running_loop(), 0

        def forged(body: bytes, headers: dict[str, str]) -> None:
            nonlocal count
            count += 1
            posting = asyncio.run_coroutine_threadsafe(
                post(daemon, body, headers), loop
            )
            assert posting.result(30) == 401

        @settings(
            max_examples=150,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(
            ident=JUNK | st.just("wh_true"),
            stamp=JUNK | st.just(str(int(now))),
            signature=JUNK
            | st.binary(min_size=32, max_size=32).map(
                lambda raw: f"v1,{base64.b64encode(raw).decode()}"
            ),
            body=st.binary(max_size=200) | st.just(true),
        )
        def made_up(ident: str, stamp: str, signature: str, body: bytes) -> None:
            names = ("webhook-id", "webhook-timestamp", "webhook-signature")
            forged(body, dict(zip(names, (ident, stamp, signature), strict=True)))

        await asyncio.to_thread(made_up)
        for stale in (-301.0, 301.0, 86_400.0):
            assert await post_signed(daemon, true, ident="wh_1", at=stale) == 401
        assert await post_signed(daemon, true, ident="wh_1", secret=OUTBOUND) == 401
        assert await post(daemon, true + b" ", good) == 401
        assert await post(daemon, b"x" * 70_000, good) == 413
        assert await post(daemon, true, good, source="nobody") == 404
        assert await post_signed(daemon, b"no event", ident="wh_2") == 400
        unknown = b'{"type": "response.completed", "data": {"id": "resp_1"}}'
        assert await post_signed(daemon, unknown, ident="wh_3") == 204
        series = await daemon.metrics()
        assert series[TOTAL % "refused"] == count + 6
        assert series[TOTAL % "unreadable"] == 1
        assert series[TOTAL % "ignored"] == 1
        assert series[TOTAL % "accepted"] == 0
        # What is true gets through, and is the first that was asked about.
        assert await post(daemon, true, good) == 204
        await scene.api.requests.wait_for(f"GET */{job.id}*")
        assert {one.path.rpartition("/jobs/")[2] for one in scene.api.requests} <= {
            job.id,
            f"{job.id}/events",
            f"{job.id}/checkpoints",
        }
        assert len(daemon.log("webhook.refused")) == 1
        assert await daemon.logged("webhook.verified_again")
        assert await daemon.stop() == 0
    assert scene.receiver.received == []
    said = daemon.said.read_text() + "".join(daemon.answers)
    assert INBOUND.removeprefix("whsec_") not in said


async def test_a_storm_of_true_webhooks_stays_within_the_budget(scene):
    scene.configure("requests_per_minute = 600\n")
    jobs = [scene.running_job() for _ in range(20)]
    async with running(scene.program) as daemon:
        await scene.until_watched(*jobs)
        scene.api.requests.clear()
        for number in range(300):
            body = event(jobs[number % 20].id, "succeeded", at=1)
            assert await post_signed(daemon, body, ident=f"wh_{number}") == 204
        for job in jobs:
            await scene.api.requests.wait_for(f"GET */{job.id}", within=30)
        # A tenth of a minute's may go out at once, and nine tenths over the minute.
        assert scene.api.requests.busiest(1.0) <= 60 + 9 + 1
        assert (await daemon.get("/livez"))[0] == 200
        assert await daemon.stop() == 0


async def test_a_secret_is_exchanged_without_a_restart(scene):
    scene.configure()
    body = event("ftjob-1", "failed", at=1)
    file = scene.program.directory / "inbound"
    async with running(scene.program) as daemon:
        assert await post_signed(daemon, body, ident="wh_1") == 204
        assert await post_signed(daemon, body, ident="wh_2", secret=SECOND) == 401
        file.write_text(f"{INBOUND}\n{SECOND}\n")
        assert await post_signed(daemon, body, ident="wh_3", secret=SECOND) == 204
        assert await post_signed(daemon, body, ident="wh_4") == 204
        file.write_text(SECOND)
        assert await post_signed(daemon, body, ident="wh_5", secret=SECOND) == 204
        assert await post_signed(daemon, body, ident="wh_6") == 401
        assert await daemon.stop() == 0


async def test_without_a_secret_there_is_no_such_address(scene):
    scene.tables = scene.tables.replace("webhook_secret_file", "#")
    scene.configure()
    body = event("ftjob-1", "failed", at=1)
    async with running(scene.program) as daemon:
        assert await post_signed(daemon, body, ident="wh_1") == 404
        assert not [name for name in await daemon.metrics() if "inbound" in name]
        assert await daemon.stop() == 0


async def test_a_secret_that_is_none_stops_the_start_and_is_not_repeated(scene):
    scene.configure()
    (scene.program.directory / "inbound").write_text("sk-not-a-webhook-secret")
    for command in ("run", "check"):
        done = await ended(scene.program, command)
        assert done.code == 2
        assert "sources.research.webhook_secret: wanted signing secrets" in done.err
        assert "sk-not" not in done.out + done.err


async def test_a_webhook_that_comes_too_early_is_to_be_sent_again(scene):
    away = f"postgresql://tunewatch@127.0.0.1:{free_port()}/state"
    scene.configure(state=away)
    body = event("ftjob-1", "failed", at=1)
    async with running(scene.program, wait=False) as daemon:
        await daemon.logged("store.away")

        async def is_told_so() -> bool:
            try:
                return await post_signed(daemon, body, ident="wh_1") == 503
            except aiohttp.ClientError:
                return False

        await eventually(is_told_so, "it is to be sent again")
        assert await daemon.stop() == 0
