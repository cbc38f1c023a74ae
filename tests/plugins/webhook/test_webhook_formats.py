"""What goes over the wire by format, mode and payload, read by others' libraries."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import msgspec
import openai
import pytest
from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier

from support.receiver_server import Post, receiver
from support.webhook_opening import (
    SECRET,
    Lent,
    Time,
    delivery,
    event,
    opened,
    outcome_of,
    settled,
)
from tunewatch.events import Common, encode
from tunewatch.plugin import Delivery, Receipt
from tunewatch.testing import examples
from tunewatch_plugins.cloudevents import source
from tunewatch_plugins.webhook.formats import shaped

CLIENT = openai.OpenAI(api_key="unused")


class Present:
    """The unix second at which the test that runs began."""

    second = 0


@pytest.fixture(autouse=True)
def _begins() -> None:
    # Not once for all: receivers refuse what is five minutes old, and a suite is older.
    Present.second = int(time.time())


EVERY = [*examples.deliveries(), *examples.odd_deliveries(), examples.big_delivery()]
SHAPES = [
    {"format": "standard"},
    {"format": "standard", "payload": "thin"},
    {"format": "cloudevents"},
    {"format": "cloudevents", "payload": "thin"},
    {"format": "cloudevents", "mode": "binary"},
    {"format": "cloudevents", "mode": "binary", "payload": "thin"},
]


def name(shape: dict[str, str]) -> str:
    return "-".join(shape.values())


async def posted(table: dict[str, Any], *sent: Delivery) -> list[Post]:
    """Deliver and return what came."""
    async with (
        receiver() as got,
        opened(
            {"url": got.url(), **table}, lent=Lent(clock=Time(Present.second))
        ) as webhook,
    ):
        for one in sent:
            assert await outcome_of(webhook, one) == Receipt(200)
    return got.posts


def read_as_cloudevent(post: Post) -> Any:
    """Read it as the CloudEvents project's own SDK does."""
    return from_http_event(HTTPMessage(headers=post.headers, body=post.body))


@pytest.mark.parametrize("shape", SHAPES, ids=name)
async def test_every_shape_of_every_event_is_signed_over_the_bytes_sent(shape):
    posts = await posted(shape, *EVERY)
    for sent, post in zip(EVERY, posts, strict=True):
        assert post.headers["webhook-id"] == sent.event.id
        CLIENT.webhooks.verify_signature(post.body, post.headers, secret=SECRET)
        Verifier(SECRET).verify(post.body, post.headers)


@pytest.mark.parametrize("shape", SHAPES, ids=name)
async def test_every_try_of_an_event_has_the_same_bytes(shape):
    statuses = [500, 503, 200]

    def respond(_post: Post) -> web.StreamResponse:
        return web.Response(status=statuses.pop(0))

    async with receiver(respond) as got:
        while statuses:  # each time by a webhook of its own, as after a start
            async with opened({"url": got.url(), **shape}) as webhook:
                await outcome_of(webhook, EVERY[3])
    first, *others = got.posts
    assert len(others) == 2
    told = {n: v for n, v in first.headers.items() if n.startswith(("ce-", "content"))}
    for post in others:
        assert post.body == first.body
        assert told.items() <= post.headers.items()


@pytest.mark.parametrize("mode", ["structured", "binary"])
@pytest.mark.parametrize("payload", ["full", "thin"])
async def test_the_sdk_of_cloudevents_reads_every_event(mode, payload):
    shape = {"format": "cloudevents", "mode": mode, "payload": payload}
    posts = await posted(shape, *EVERY)
    for sent, post in zip(EVERY, posts, strict=True):
        told, happened = read_as_cloudevent(post), sent.event
        assert told.get_specversion() == "1.0"
        assert told.get_id() == happened.id
        assert told.get_type() == happened.type
        assert told.get_source() == "openai#research"
        assert told.get_subject() == happened.job_id
        assert told.get_time().timestamp() == happened.created_at
        assert told.get_datacontenttype() == "application/json"
        assert int(told.get_extension("sequence")) == happened.common.sequence
        assert told.get_extension("sequencetype") is None
        standard = json.loads(sent.body)["data"]
        if payload == "thin":
            standard = {key: standard[key] for key in Common.__struct_fields__}
        assert told.get_data() == standard


async def test_a_structured_cloudevent_looks_so():
    (post,) = await posted({"format": "cloudevents"}, delivery(7))
    assert post.headers["content-type"] == "application/cloudevents+json"
    assert not [header for header in post.headers if header.startswith("ce-")]
    body = encode(event(7))
    data = body[body.index(b'"data":') + len(b'"data":') : -1]
    assert post.body == (
        b'{"specversion":"1.0","id":"evt_00000000000000000000000000000007",'
        b'"source":"openai#research","type":"fine_tuning.job.succeeded",'
        b'"subject":"ftjob-7","time":"2024-08-09T12:53:33Z",'
        b'"sequence":"0000000000000000007","datacontenttype":"application/json",'
        b'"data":' + data + b"}"
    )


async def test_a_binary_cloudevent_looks_so():
    shape = {"format": "cloudevents", "mode": "binary"}
    (post,) = await posted(shape, delivery(7))
    assert post.headers["content-type"] == "application/json"
    told = {n: v for n, v in post.headers.items() if n.startswith("ce-")}
    assert told == {
        "ce-specversion": "1.0",
        "ce-id": "evt_00000000000000000000000000000007",
        "ce-source": "openai#research",
        "ce-type": "fine_tuning.job.succeeded",
        "ce-subject": "ftjob-7",
        "ce-time": "2024-08-09T12:53:33Z",
        "ce-sequence": "0000000000000000007",
    }
    assert json.loads(post.body) == json.loads(encode(event(7)))["data"]


async def test_what_a_header_cannot_hold_is_encoded_and_comes_back():
    job = 'Euro € 😀 "50 %"'
    happened = msgspec.structs.replace(
        event(7), common=msgspec.structs.replace(event(7).common, id=job)
    )
    sent = Delivery(event=happened, body=encode(happened))
    shape = {"format": "cloudevents", "mode": "binary"}
    (post,) = await posted(shape, sent)
    assert post.headers["ce-subject"] == (
        "Euro%20%E2%82%AC%20%F0%9F%98%80%20%2250%20%25%22"
    )
    assert read_as_cloudevent(post).get_subject() == job


@pytest.mark.parametrize(
    ("realm", "shown"),
    [
        ("openai:https://api.openai.com", "openai:https://api.openai.com#research"),
        ("openai:http://127.0.0.1:8080", "openai:http://127.0.0.1:8080#research"),
        ("openai", "openai#research"),
        ("our place", "our%20place#research"),
        ("1:2", "1%3A2#research"),
        ("a#b?c%d", "a%23b%3Fc%25d#research"),
        ("köln:[x]", "k%C3%B6ln%3A%5Bx%5D#research"),
    ],
)
def test_the_source_is_a_uri_reference_of_realm_and_source(realm: str, shown: str):
    assert source(realm, "research") == shown


# RFC 3986: an absolute URI or a relative reference, without what must be encoded.
_CHARACTER = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=@]|%[0-9A-F]{2})"
_REFERENCE = re.compile(
    rf"(?:[A-Za-z][A-Za-z0-9+.-]*:(?:{_CHARACTER}|[:/])*"
    rf"|/*{_CHARACTER}*(?:/{_CHARACTER}*)*)#{_CHARACTER}+"
)


@given(
    st.text(min_size=1),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True),
)
def test_any_realm_makes_a_uri_reference(realm: str, source_name: str):
    assert _REFERENCE.fullmatch(source(realm, source_name))


def test_as_text_sequences_sort_as_numbers():
    numbers = [1, 9, 10, 417, 1_723_208_021_417, 2**53, 2**63 - 1]
    shape = shaped("cloudevents", mode="structured", payload="full")
    told = [json.loads(shape(delivery(n)).body)["sequence"] for n in numbers]
    assert told == sorted(told)
    assert len(set(map(len, told))) == 1


async def test_an_event_of_a_source_has_no_subject():
    (down,) = [d for d in EVERY if d.event.type == "tunewatch.source.down"]
    (post,) = await posted({"format": "cloudevents"}, down)
    assert read_as_cloudevent(post).get_subject() is None


async def test_a_thin_event_tells_what_happened_and_nothing_of_the_contents():
    (post,) = await posted({"payload": "thin"}, delivery(7))
    assert post.headers["content-type"] == "application/json"
    assert json.loads(post.body) == {
        "object": "event",
        "id": "evt_00000000000000000000000000000007",
        "type": "fine_tuning.job.succeeded",
        "created_at": 1_723_208_013,
        "timestamp": "2024-08-09T12:53:33Z",
        "schema_version": 1,
        "data": {
            "id": "ftjob-7",
            "source": "research",
            "realm": "openai",
            "status": "succeeded",
            "sequence": 7,
            "observed_at": "2024-08-09T12:53:34Z",
            "backfilled": False,
        },
    }


async def test_the_openai_sdk_unwraps_a_thin_event_as_one_of_its_own():
    (post,) = await posted({"payload": "thin"}, delivery(7))
    told = CLIENT.webhooks.unwrap(post.body, post.headers, secret=SECRET)
    assert told.type == "fine_tuning.job.succeeded"
    assert told.data.id == "ftjob-7"
    assert told.created_at == 1_723_208_013


async def test_a_thin_event_is_short_however_long_the_event_is():
    posts = await posted({"payload": "thin"}, *EVERY)
    assert max(len(sent.body) for sent in EVERY) > 100_000
    assert max(len(post.body) for post in posts) < 500


@pytest.mark.parametrize(
    ("table", "mistake"),
    [
        (
            {"mode": "binary"},
            'plugins.ops.mode: this is said of format = "cloudevents" and no other',
        ),
        (
            {"format": "cloudevents", "mode": "batched"},
            "plugins.ops.mode: wanted 'structured' or 'binary'; found a string",
        ),
        ({"payload": "none"}, "plugins.ops.payload: wanted 'full' or 'thin'"),
        (
            {"format": "xml"},
            "(standard, cloudevents, slack, discord, teams)",
        ),
    ],
)
def test_a_shape_that_there_is_not_is_refused(table: dict[str, str], mistake: str):
    least = {"url": "https://hooks.example/x", "secret": SECRET}
    configured, told = settled({**least, **table})
    assert configured is None
    assert [mistake in one for one in told] == [True], told
