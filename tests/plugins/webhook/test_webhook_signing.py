from __future__ import annotations

import base64
import time

import openai
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from support.receiver_server import Post, receiver
from support.webhook_opening import (
    OTHER_SECRET,
    SECRET,
    Lent,
    Time,
    delivery,
    event,
    opened,
)
from tunewatch import __version__
from tunewatch.events import encode
from tunewatch.plugin import Retry
from tunewatch_plugins.webhook.signing import keyring

CLIENT = openai.OpenAI(api_key="unused")


class Present:
    """The unix second at which the test that runs began."""

    second = 0


@pytest.fixture(autouse=True)
def _begins() -> None:
    # Not once for all: receivers refuse what is five minutes old, and a suite is older.
    Present.second = int(time.time())


def test_the_published_vector_of_the_specification_is_reproduced():
    keys = keyring("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = keys.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=10_000, deadline=None)
@given(TEXTS, st.binary(min_size=24, max_size=64), st.uuids())
def test_independent_verifiers_accept_every_body(text, key, number):
    secret, body = "whsec_" + base64.b64encode(key).decode(), text.encode()
    headers = keyring(secret).headers(f"evt_{number.hex}", Present.second, body)
    CLIENT.webhooks.verify_signature(body, headers, secret=secret)
    Verifier(secret).verify(body, headers, json_parse=False)
    for changed in (body + b" ", b" " + body):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            CLIENT.webhooks.verify_signature(changed, headers, secret=secret)


def test_while_rotating_a_receiver_with_either_secret_accepts():
    body = b'{"a": 1}'
    headers = keyring(f"{OTHER_SECRET}\n\n  {SECRET}  \n").headers(
        "evt_1", Present.second, body
    )
    first, second = headers["webhook-signature"].split(" ")
    alone = keyring(OTHER_SECRET).headers("evt_1", Present.second, body)
    assert first == alone["webhook-signature"]
    assert (
        second
        == keyring(SECRET).headers("evt_1", Present.second, body)["webhook-signature"]
    )
    for secret in (SECRET, OTHER_SECRET):
        CLIENT.webhooks.verify_signature(body, headers, secret=secret)
        Verifier(secret).verify(body, headers)
    stranger = "whsec_" + base64.b64encode(b"x" * 32).decode()
    with pytest.raises(WebhookVerificationError):
        Verifier(stranger).verify(body, headers)


async def test_a_delivery_is_the_event_s_own_bytes_under_a_receiver_s_eyes():
    sent = delivery(7)
    async with (
        receiver() as got,
        opened(
            {"url": got.url("/hook?team=a")}, lent=Lent(clock=Time(Present.second))
        ) as webhook,
    ):
        await webhook.deliver(sent)
    (post,) = got.posts
    assert post.path == "/hook?team=a"
    assert post.body == encode(event(7)) == sent.body
    assert post.headers["content-type"] == "application/json"
    assert post.headers["user-agent"] == f"tunewatch/{__version__}"
    assert post.headers["webhook-id"] == sent.event.id
    assert post.headers["webhook-timestamp"] == str(Present.second)
    told = CLIENT.webhooks.unwrap(post.body, post.headers, secret=SECRET)
    assert told.type == "fine_tuning.job.succeeded"
    assert told.data.id == "ftjob-7"
    assert Verifier(SECRET).verify(post.body, post.headers)["id"] == sent.event.id


@settings(max_examples=20, deadline=None)
@given(bodies=st.lists(TEXTS, min_size=30, max_size=60))
async def test_what_arrives_is_what_was_signed_whatever_it_is(bodies):
    async with (
        receiver() as got,
        opened({"url": got.url()}, lent=Lent(clock=Time(Present.second))) as webhook,
    ):
        for body in bodies:
            await webhook.deliver(delivery(body=body.encode()))
    assert [post.body.decode() for post in got.posts] == bodies
    for post in got.posts:
        CLIENT.webhooks.verify_signature(post.body, post.headers, secret=SECRET)


async def test_every_try_is_stamped_and_signed_anew_and_keeps_its_id():
    clock = Time(Present.second)

    def refuse(_post: Post) -> web.StreamResponse:
        return web.Response(status=503)

    async with (
        receiver(refuse) as got,
        opened({"url": got.url()}, lent=Lent(clock=clock)) as webhook,
    ):
        for _ in range(3):
            with pytest.raises(Retry):
                await webhook.deliver(delivery())
            clock.seconds += 301
    stamps = [int(post.headers["webhook-timestamp"]) for post in got.posts]
    assert stamps == [Present.second, Present.second + 301, Present.second + 602]
    assert len({post.headers["webhook-signature"] for post in got.posts}) == 3
    assert len({post.headers["webhook-id"] for post in got.posts}) == 1
    assert len({post.body for post in got.posts}) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found nothing"),
        ("\n  \n", "found nothing"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with it"),
        ("whsec_", "found 0 bytes"),
        ("whsec_" + base64.b64encode(b"x" * 23).decode(), "found 23 bytes"),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), "found 65 bytes"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!", "no base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwé", "no base64"),
        ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "ed25519"),
    ],
)
def test_what_is_no_secret_is_refused_and_told_how_to_make_one(text: str, found: str):
    with pytest.raises(ValueError, match="tunewatch secret") as refused:
        keyring(text)
    assert found in str(refused.value)
    assert "MfKQ9r8G" not in str(refused.value)


def test_a_wrong_line_among_good_ones_is_named_by_its_number():
    with pytest.raises(ValueError, match="line 3: wanted whsec_"):
        keyring(f"{SECRET}\n\nwhsec_short\n{OTHER_SECRET}")


def test_more_secrets_than_a_header_holds_are_refused():
    lines = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in range(11)]
    with pytest.raises(ValueError, match="at most 10 secrets, found 11"):
        keyring("\n".join(lines))
    assert "10 keys" in repr(keyring("\n".join(lines[:10])))
