"""The recording receiver: what it accepts, what it notes, how it misbehaves."""

from __future__ import annotations

import asyncio
import base64
import time
from datetime import UTC, datetime

import aiohttp
import pytest
from standardwebhooks.webhooks import Webhook

from tunewatch.testing import Receiver, Reply
from tunewatch.testing.signatures import signature_problem

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER = "whsec_" + base64.b64encode(b"another-secret-another-secret-!!").decode()
BODY = '{"type":"fine_tuning.job.succeeded"}'


def signed(secret: str = SECRET, *, at: float | None = None) -> dict[str, str]:
    """Return the headers that the reference library signs the body with."""
    moment = datetime.fromtimestamp(int(at or time.time()), tz=UTC)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", moment, BODY),
    }


async def post(url: str, headers: dict[str, str] | None = None) -> int:
    timeout = aiohttp.ClientTimeout(total=2)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, data=BODY, headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status


async def test_what_the_reference_library_signed_is_accepted_and_recorded():
    receiver = Receiver(secrets=[SECRET])
    async with receiver.serve() as url:
        assert await post(url + "hook?x=1", signed()) == 200
        (got,) = await receiver.wait_for(1)
    assert (got.method, got.path, got.id) == ("POST", "/hook?x=1", "evt_1")
    assert got.json() == {"type": "fine_tuning.job.succeeded"}
    assert got.problem is None


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        (dict, "missing header: webhook-id, webhook-timestamp, webhook-signature"),
        (lambda: signed(OTHER), "no signature matches"),
        (lambda: signed() | {"webhook-id": "evt_2"}, "no signature matches"),
        (
            lambda: signed() | {"webhook-signature": "v1a,abc v2,def x"},
            "no signature matches",
        ),
        (lambda: signed() | {"webhook-timestamp": "now"}, "is not a whole number"),
    ],
)
async def test_what_is_not_rightly_signed_is_refused_with_the_reason(headers, problem):
    receiver = Receiver(secrets=[SECRET])
    async with receiver.serve() as url:
        # Signed now: a suite is older than receivers allow.
        assert await post(url, headers()) == 401
    assert receiver.accepted == []
    assert problem in receiver.received[0].problem


@pytest.mark.parametrize("seconds", [-400, 400])
async def test_a_signature_of_another_time_is_refused_with_the_reason(seconds):
    receiver = Receiver(secrets=[SECRET])
    async with receiver.serve() as url:
        assert await post(url, signed(at=time.time() + seconds)) == 401
    assert receiver.accepted == []
    assert "more than 5 minutes away" in receiver.received[0].problem


def test_while_secrets_rotate_one_good_signature_of_several_is_enough():
    new = signed(OTHER)
    both = f"{signed()['webhook-signature']} {new['webhook-signature']}"
    headers = new | {"webhook-signature": both}
    for secrets in ([SECRET], [OTHER], [OTHER, SECRET]):
        problem = signature_problem(
            headers, BODY.encode(), secrets=secrets, now=time.time()
        )
        assert problem is None


def test_a_secret_that_is_none_is_named_and_not_shown():
    with pytest.raises(ValueError, match="not whsec_ or whpk_ and base64") as raised:
        signature_problem(
            signed(), BODY.encode(), secrets=["whsec_???"], now=time.time()
        )
    assert "???" not in str(raised.value)


async def test_planned_replies_come_in_their_order_then_the_usual_one():
    receiver = Receiver()
    receiver.plan(
        Reply(status=503, headers={"Retry-After": "7"}), Reply.redirect("/elsewhere")
    )
    receiver.plan(Reply(status=410), times=2)
    receiver.usual = Reply(status=204)
    async with receiver.serve() as url:
        statuses = [await post(url) for _ in range(6)]
    assert statuses == [503, 302, 410, 410, 204, 204]
    assert [got.status for got in receiver.accepted] == [204, 204]


async def test_a_receiver_can_close_hang_drip_and_flood():
    receiver = Receiver()
    receiver.plan(Reply.close(), Reply.hang(), Reply.drip(), Reply.flood())
    timeout = aiohttp.ClientTimeout(total=0.3)
    async with (
        receiver.serve() as url,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        with pytest.raises(aiohttp.ClientError):
            await session.post(url)
        with pytest.raises(TimeoutError):
            await session.post(url)
        with pytest.raises(TimeoutError):
            async with session.post(url) as dripping:
                await dripping.read()
        async with session.post(url) as flooding:
            assert len(await flooding.content.readexactly(1_000_000)) == 1_000_000
        assert await post(url) == 200
    assert [got.status for got in receiver.received] == [0, 0, 200, 200, 200]


async def test_waiting_ends_when_enough_came_or_the_time_is_over():
    heard = []
    receiver = Receiver(heard=heard.append)
    async with receiver.serve() as url, asyncio.TaskGroup() as group:
        waiting = group.create_task(
            receiver.wait_until(lambda got: len(got) == 3), name="waiting"
        )
        for _ in range(3):
            await post(url)
        assert len(await waiting) == 3
        with pytest.raises(TimeoutError):
            await receiver.wait_for(4, within=0.01)
    assert heard == receiver.received
