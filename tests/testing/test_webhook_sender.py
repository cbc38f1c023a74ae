"""The simulated provider's webhooks are such as the provider's own library takes."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from openai import OpenAI

from support.simulated import still_api
from tunewatch.testing import Receiver, Reply, WebhookSender

SECRET = "whsec_" + base64.b64encode(b"p" * 32).decode()


@pytest.fixture
def api():
    return still_api()


@pytest.fixture
def receiver():
    return Receiver(secrets=[SECRET])


@asynccontextmanager
async def sending(api, receiver, **options):
    async with receiver.serve() as url:
        sender = WebhookSender(api=api, url=url, secret=SECRET, **options)
        async with sender.sending():
            yield sender


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "cancelled"])
async def test_a_job_that_ends_is_told_as_the_provider_tells_it(api, receiver, outcome):
    job = api.add_job(outcome=outcome)
    async with sending(api, receiver):
        api.clock.advance_to(job.ends_at)
        (told,) = await receiver.wait_for(1)
    with OpenAI(api_key="unused", webhook_secret=SECRET) as client:
        event = client.webhooks.unwrap(told.body, told.headers)
    assert event.type == f"fine_tuning.job.{outcome}"
    assert event.data.id == job.id
    assert set(told.json()) == {"object", "id", "type", "created_at", "data"}
    assert told.headers["webhook-id"].startswith("wh_")


async def test_it_is_told_again_under_the_same_id_until_somebody_hears(api, receiver):
    job = api.add_job()
    receiver.plan(Reply(status=503), Reply.redirect("/elsewhere"))
    async with sending(api, receiver):
        api.clock.advance_to(job.ends_at)
        await receiver.wait_for(1)
    assert [one.status for one in receiver.received] == [503, 302, 200]
    assert len({one.id for one in receiver.received}) == 1
    assert all(b.at - a.at >= 0.4 for a, b in pairwise(receiver.received))


async def test_only_ends_from_now_on_and_of_its_project_are_told(api, receiver):
    over, mine, other = (
        api.add_job(project="mine"),
        api.add_job(project="mine"),
        api.add_job(project="other"),
    )
    api.set_status(over, "succeeded")
    async with sending(api, receiver, project="mine"):
        api.set_status(mine, "paused")  # the provider has no webhook for it
        api.set_status(other, "failed")
        api.set_status(mine, "cancelled")
        (told,) = await receiver.wait_for(1)
    assert told.json()["data"]["id"] == mine.id
