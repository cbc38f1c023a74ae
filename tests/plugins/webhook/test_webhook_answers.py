from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from support.receiver_server import (
    Post,
    free_port,
    raw_receiver,
    receiver,
    request_read,
)
from support.webhook_opening import (
    SECRET,
    Lent,
    Outcome,
    Time,
    delivery,
    kept,
    opened,
    outcome_of,
)
from tunewatch.plugin import Pause, Receipt, Retry
from tunewatch_plugins.webhook.answers import LONGEST_WAIT, Answer, refusal, wait
from tunewatch_plugins.webhook.redaction import Censor

NOW = 1_763_600_000.0


def after(seconds: float) -> str:
    moment = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds)
    return format_datetime(moment, usegmt=True)


async def outcome(
    status: int,
    *,
    headers: dict[str, str] | None = None,
    body: str | bytes = b"",
    **more: object,
) -> Outcome:
    """Deliver once to a receiver that answers so."""
    said = body.encode() if isinstance(body, str) else body

    def respond(_post: Post) -> web.StreamResponse:
        return web.Response(status=status, headers=headers, body=said)

    async with (
        receiver(respond) as got,
        opened({"url": got.url(), **more}, lent=Lent(clock=Time(NOW))) as webhook,
    ):
        answer = await outcome_of(webhook)
    assert len(got.posts) == 1
    return answer


def told(answer: Outcome) -> str:
    """Return in a word what an answer was taken for."""
    match answer:
        case Receipt():
            return "received"
        case Pause():
            return "paused"
        case Retry(scope=scope):
            return scope


# What each status means, for all there are: "plugin" is trouble of the receiver, which
# waits as a whole, "lane" trouble of this event, for which only its job waits.
TABLE = {
    **dict.fromkeys(range(200, 300), "received"),
    **dict.fromkeys(range(300, 600), "plugin"),
    **dict.fromkeys((400, 413, 415, 422), "lane"),
    410: "paused",
}


async def test_every_status_there_is_means_what_the_table_says():
    status = 0

    def respond(_post: Post) -> web.StreamResponse:
        return web.Response(status=status, headers={"Retry-After": "17"})

    found, waits = {}, {}
    async with receiver(respond) as got:
        table = {"url": got.url()}
        async with opened(table, lent=Lent(clock=Time(NOW))) as webhook:
            for status in TABLE:
                answer = await outcome_of(webhook)
                assert kept(answer) == Receipt(status, "")
                found[status] = told(answer)
                if isinstance(answer, Retry):
                    assert answer.reason.startswith(f"HTTP {status} ")
                    waits[status] = answer.after
    assert len(got.posts) == len(TABLE) == 400
    assert found == TABLE
    assert set(waits.values()) == {17.0}


@pytest.mark.parametrize("status", [401, 403, 404, 408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("120", 120.0),
        ("0", None),
        ("-3", None),
        ("315360000", LONGEST_WAIT),
        (after(90), 90.0),
        (after(-5), None),
        (after(10 * 365 * 86_400), LONGEST_WAIT),
        ("in a while, perhaps", None),
    ],
)
async def test_a_receiver_in_trouble_says_when_to_come_back(
    status: int, retry_after: str, seconds: float | None
):
    answer = await outcome(status, headers={"Retry-After": retry_after})
    assert isinstance(answer, Retry)
    assert answer.scope == "plugin"
    if seconds is None:
        assert answer.after is None
    else:
        assert answer.after is not None
        assert abs(answer.after - seconds) <= 1
    assert answer.reason == f"HTTP {status} {HTTPStatus(status).phrase} from 127.0.0.1"


async def test_trouble_of_the_event_is_told_in_the_receiver_s_words():
    answer = await outcome(422, body="no such field: sequence")
    assert isinstance(answer, Retry)
    assert (answer.scope, answer.after) == ("lane", None)
    assert answer.reason.endswith(" from 127.0.0.1: no such field: sequence")


async def test_gone_pauses_the_plugin():
    answer = await outcome(410, body="endpoint removed")
    assert isinstance(answer, Pause)
    assert "410" in answer.reason
    assert "endpoint removed" in answer.reason
    assert answer.receipt == Receipt(410, "endpoint removed")


@pytest.mark.parametrize(
    "page", ["The SSL certificate error", "No required SSL certificate was sent"]
)
async def test_where_nginx_wants_another_certificate_the_event_is_not_to_blame(
    page: str,
):
    text = f"<html><head><title>400 {page}</title></head><body>…</body></html>"
    answer = await outcome(400, body=text)
    assert isinstance(answer, Retry)
    assert answer.scope == "plugin"
    assert page in answer.reason


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_a_failure_that_names_only_the_other_host(status: int):
    async with receiver() as elsewhere:
        answer = await outcome(
            status, headers={"Location": elsewhere.url("/moved/tok-SECRETSECRET?x=1")}
        )
        assert elsewhere.posts == []
    assert isinstance(answer, Retry)
    assert answer.scope == "plugin"
    assert "redirects to 127.0.0.1 are not followed" in answer.reason
    assert "SECRETSECRET" not in answer.reason + str(answer.receipt)


@pytest.mark.parametrize("location", ["/x/SECRETSECRET", "", "http://[", "//\x7f"])
def test_a_redirect_to_nowhere_in_particular_is_a_failure_all_the_same(location: str):
    answer = Answer(status=302, location=location)
    refused = refusal(answer, host="a.example", now=NOW, censor=Censor())
    assert "somewhere on the same host" in refused.reason
    assert "SECRETSECRET" not in refused.reason


@pytest.mark.parametrize("status", [100, 101, 199, 600, 700, 999])
def test_a_status_that_means_nothing_is_trouble_of_the_receiver(status: int):
    answer = Answer(status=status)
    refused = refusal(answer, host="a.example", now=NOW, censor=Censor())
    assert isinstance(refused, Retry)
    assert refused.scope == "plugin"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("007", 7.0),
        ("1.5", 1.5),
        ("86400", 86_400.0),
        ("315360000", LONGEST_WAIT),
        ("9" * 30, LONGEST_WAIT),
        ("9" * 10_000, LONGEST_WAIT),
        ("0" * 10_000 + "5", None),
        (after(90), 90.0),
        (after(3 * 86_400), LONGEST_WAIT),
        (after(10 * 365 * 86_400), LONGEST_WAIT),
        (after(-5), None),
        ("Thu, 20 Nov 2025 00:53:20", None),
        ("0", None),
        ("-3", None),
        ("+3", None),
        ("1e3", None),
        ("0x10", None),
        ("inf", None),
        ("nan", None),
        ("١٢", None),
        ("soon", None),
        ("", None),
        ("Sun, 99 Foo 20000 99:99:99 GMT", None),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
        ("x" * 100_000, None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(
    text: str | None, seconds: float | None
):
    assert wait(text, NOW) == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9 :]+"))
def test_no_retry_after_can_do_harm(text: str):
    seconds = wait(text, NOW)
    assert seconds is None or 0 < seconds <= LONGEST_WAIT


async def test_a_long_answer_is_cut_and_unprintable_parts_are_left_out():
    answer = await outcome(500, body="a\x00\x1b[31mb\u202ec\n\n\td " + "é" * 100_000)
    assert isinstance(answer, Retry)
    words = answer.reason.partition(": ")[2]
    assert words.startswith("a[31mbc d é")
    assert len(words) == 200
    assert answer.reason.isprintable()
    assert answer.receipt is not None
    assert answer.receipt.answer.startswith(words)
    assert answer.receipt.answer.isprintable()


async def test_an_encoded_answer_is_not_quoted():
    for status in (200, 500):
        body = gzip.compress(b"not to be unpacked")
        answer = await outcome(status, headers={"Content-Encoding": "gzip"}, body=body)
        assert kept(answer) == Receipt(status, "")


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299, 400, 404, 410, 503])
async def test_what_a_receiver_answers_is_kept_whatever_it_means(status: int):
    answer = await outcome(status, body='{"ok": true,\n "id": 7}\x00\x1b[2J')
    assert kept(answer) == Receipt(status, '{"ok": true, "id": 7}[2J')


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("filling", ["x", "é", "漢", "🦉", "\xff"])
async def test_at_most_a_kibibyte_of_an_answer_is_kept_and_no_half_character(
    status: int, filling: str
):
    body = filling.encode() if filling != "\xff" else b"\xff"
    answer = await outcome(status, body=b"!" + body * 30_000)
    receipt = kept(answer)
    assert receipt is not None
    assert 1020 < len(receipt.answer.encode()) <= 1024
    whole = "\ufffd" if filling == "\xff" else filling
    assert set(receipt.answer) == {"!", whole}


async def test_an_endless_answer_to_an_accepted_delivery_leaves_a_short_receipt():
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_read(reader)
        writer.write(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10\r\n" + b"thank you, and  " + b"\r\n")
            await writer.drain()

    async with raw_receiver(handle) as port:
        table = {"url": f"http://127.0.0.1:{port}/hook"}
        async with opened(table) as webhook:
            receipt = await webhook.deliver(delivery())
    assert receipt.status == 202
    assert receipt.answer.startswith("thank you, and thank you")
    assert len(receipt.answer) <= 1024


@pytest.mark.parametrize("status", [200, 400, 410, 500])
async def test_a_receipt_repeats_no_secret(status: int):
    token = "tok-7f3a9c1e55d2"
    path = "/services/T0C4n4ryTeam/B0C4n4ryHook"

    def respond(post: Post) -> web.StreamResponse:
        said = {"path": post.path, "got": dict(post.headers), "expected": SECRET}
        return web.Response(status=status, text=json.dumps(said))

    headers = {"Authorization": f"Bearer {token}", "X-Team": "research"}
    async with (
        receiver(respond) as got,
        opened({"url": got.url(path), "headers": headers}) as webhook,
    ):
        answer = await outcome_of(webhook)
    receipt = kept(answer)
    assert receipt is not None
    for secret in (token, "C4n4ry", SECRET.removeprefix("whsec_")):
        assert secret not in receipt.answer + str(answer)
    assert "x-team" in receipt.answer
    assert "research" in receipt.answer


async def test_where_nobody_answered_there_is_no_receipt():
    async with opened({"url": f"http://127.0.0.1:{free_port()}/hook"}) as webhook:
        answer = await outcome_of(webhook)
    assert isinstance(answer, Retry)
    assert answer.receipt is None
