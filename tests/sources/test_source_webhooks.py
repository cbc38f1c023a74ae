"""OpenAI's webhooks: only what OpenAI signed, lately, is believed."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import InvalidWebhookSignatureError, OpenAI

from tunewatch.settings import Wanted
from tunewatch.sources.contract import Announcement, Unreadable, Unverified
from tunewatch.sources.openai import SOURCE
from tunewatch.testing.signatures import signed
from tunewatch.testing.webhooks import event

NOW = 1_750_287_078.0
OLD, NEW, OTHER = (
    "whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"o", b"n", b"x")
)
WEBHOOKS = SOURCE.webhooks
assert WEBHOOKS is not None
read, check = WEBHOOKS.read, WEBHOOKS.check
BODY = event("ftjob-abc123", "succeeded", at=1)


def headers(
    body: bytes = BODY, *, secret: str = OLD, at: float = NOW
) -> dict[str, str]:
    return signed("wh_1", body, secret=secret, now=at)


def said(kind: str, data: Any = None) -> bytes:
    return json.dumps({"object": "event", "type": kind, "data": data}).encode()


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled", "paused"])
def test_whatever_happened_to_a_job_names_it(ending):
    body = event("ftjob-abc123", ending, at=1)
    heard = read(headers(body), body, OLD, NOW)
    assert heard == Announcement(id="wh_1", job_id="ftjob-abc123")


def test_the_id_as_the_specification_writes_it_means_the_same_job():
    body = said("fine_tuning.job.succeeded", {"id": "ftjob_abc123"})
    assert read(headers(body), body, OLD, NOW).job_id == "ftjob-abc123"


@pytest.mark.parametrize(
    "body",
    [
        said("response.completed", {"id": "resp_abc123"}),
        said("batch.failed", "nothing we know the shape of"),
        said("fine_tuning.checkpoint.created", {"id": "ftjob-abc123"}),
        said("of tomorrow"),
    ],
)
def test_what_is_about_no_job_asks_for_nothing(body):
    assert read(headers(body), body, OLD, NOW).job_id is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"type": 1}',
        b"[" * 50_000,
        said("fine_tuning.job.succeeded"),
        said("fine_tuning.job.succeeded", {"id": 5}),
        said("fine_tuning.job.succeeded", {"id": ""}),
        said("fine_tuning.job.succeeded", {"id": "j" * 10_000}),
    ],
)
def test_what_is_signed_and_makes_no_sense_is_unreadable(body):
    with pytest.raises(Unreadable):
        read(headers(body), body, OLD, NOW)


def test_while_secrets_are_exchanged_both_are_good_and_no_other():
    both = f"{OLD}\n{NEW}"
    for secret in (OLD, NEW):
        assert read(headers(secret=secret), BODY, both, NOW).id == "wh_1"
    with pytest.raises(Unverified):
        read(headers(secret=OTHER), BODY, both, NOW)


def test_one_good_signature_among_several_is_enough():
    first, second = headers(secret=OTHER), headers()
    several = f"v1a,abc {first['webhook-signature']} {second['webhook-signature']}"
    assert read({**second, "webhook-signature": several}, BODY, OLD, NOW)


@pytest.mark.parametrize("missing", headers())
def test_a_missing_header_proves_nothing(missing):
    given = {name: value for name, value in headers().items() if name != missing}
    with pytest.raises(Unverified, match="not signed"):
        read(given, BODY, OLD, NOW)


@pytest.mark.parametrize("off", [-300, -1, 0, 299, 300])
def test_five_minutes_either_way_are_believed(off):
    assert read(headers(at=NOW + off), BODY, OLD, NOW)


@pytest.mark.parametrize("off", [-86_400, -301, 301, 1e9])
def test_no_replay_from_long_ago_or_out_of_the_future_is(off):
    with pytest.raises(Unverified, match="5 minutes"):
        read(headers(at=NOW + off), BODY, OLD, NOW)


@pytest.mark.parametrize("stamp", ["", "soon", "1e9", "-5", "²", "1" * 5000, " 5"])
def test_a_time_that_is_none_proves_nothing(stamp):
    with pytest.raises(Unverified):
        read({**headers(), "webhook-timestamp": stamp}, BODY, OLD, NOW)


def test_the_providers_own_library_agrees():
    now = time.time()
    with OpenAI(api_key="unused", webhook_secret=OLD) as client:
        good, forged = headers(at=now), headers(at=now, secret=OTHER)
        assert client.webhooks.unwrap(BODY, good).type == "fine_tuning.job.succeeded"
        assert read(good, BODY, OLD, now)
        with pytest.raises(InvalidWebhookSignatureError):
            client.webhooks.unwrap(BODY, forged)
        with pytest.raises(Unverified):
            read(forged, BODY, OLD, now)


HEADER = st.text(st.characters(max_codepoint=0x10FFFF), max_size=60)
SIGNATURES = st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(
    lambda found: " ".join(f"v1,{base64.b64encode(one).decode()}" for one in found)
)


@given(
    ident=HEADER,
    stamp=HEADER | st.just(str(int(NOW))),
    signatures=HEADER | SIGNATURES,
    body=st.binary(max_size=200) | st.just(BODY),
    secret=st.sampled_from(
        [OLD, f"{OLD}\n{NEW}", "", "no secret", "whsec_", "whsec_!"]
    ),
)
def test_nobody_without_the_secret_is_believed(ident, stamp, signatures, body, secret):
    made = {
        "webhook-id": ident,
        "webhook-timestamp": stamp,
        "webhook-signature": signatures,
    }
    with pytest.raises(Unverified):
        read(made, body, secret, NOW)


@given(st.data())
def test_a_signed_webhook_that_was_touched_is_not_believed(data):
    made, body = headers(), bytearray(BODY)
    if data.draw(st.booleans(), label="in the body"):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] ^= data.draw(st.integers(1, 255))
    else:
        name = data.draw(st.sampled_from(sorted(made)))
        value = made[name]
        place = data.draw(st.integers(0, len(value) - 1))
        letter = data.draw(
            st.characters(codec="ascii").filter(lambda c: c != value[place])
        )
        made[name] = value[:place] + letter + value[place + 1 :]
    with pytest.raises(Unverified):
        read(made, bytes(body), OLD, NOW)


@given(body=st.binary(max_size=300))
def test_whatever_is_signed_is_understood_or_unreadable(body):
    try:
        heard = read(headers(body), body, OLD, NOW)
    except Unreadable:
        return
    assert heard.id == "wh_1"


@pytest.mark.parametrize("text", [OLD, f"{OLD}\n{NEW}\n", f" {OLD} "])
def test_secrets_as_the_provider_shows_them_will_do(text):
    check(text)


@pytest.mark.parametrize("text", ["", "  ", "sk-key", "whsec_", "whsec_?", f"{OLD}\nx"])
def test_what_is_no_secret_is_said_without_repeating_it(text):
    with pytest.raises(Wanted, match="whsec_ and base64") as told:
        check(text)
    assert "sk-key" not in str(told.value)
