from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from support.receiver_server import Post, receiver
from support.webhook_opening import Lent, Time, delivery, opened
from tunewatch.plugin import Pause, Retry
from tunewatch_plugins.webhook.answers import LONGEST_WAIT, Answer, refusal, wait

NOW = 1_763_600_000.0
ACCEPTED = [200, 201, 202, 204, 206, 299]
REDIRECTS = [300, 301, 302, 303, 304, 307, 308]
OF_THE_RECEIVER = [
    *(401, 402, 403, 404, 405, 406, 407, 408, 409, 411, 412, 414, 418, 421, 425, 429),
    *(431, 451, 500, 501, 502, 503, 504, 507, 599),
]
OF_THE_EVENT = [400, 413, 415, 422]


def after(seconds: float) -> str:
    moment = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds)
    return format_datetime(moment, usegmt=True)


async def outcome(
    status: int, *, headers: dict[str, str] | None = None, body: str = ""
) -> Retry | Pause | None:
    """Deliver once to a receiver that answers so."""

    def respond(_post: Post) -> web.StreamResponse:
        return web.Response(status=status, headers=headers, text=body)

    async with (
        receiver(respond) as got,
        opened({"url": got.url()}, lent=Lent(clock=Time(NOW))) as webhook,
    ):
        try:
            await webhook.deliver(delivery())
        except (Retry, Pause) as answer:
            return answer
        finally:
            assert len(got.posts) == 1
    return None


@pytest.mark.parametrize("status", ACCEPTED)
async def test_any_2xx_is_taken_for_received(status: int):
    assert await outcome(status) is None


@pytest.mark.parametrize("status", OF_THE_RECEIVER)
async def test_trouble_of_the_receiver_makes_the_plugin_wait(status: int):
    answer = await outcome(status, headers={"Retry-After": "17"})
    assert isinstance(answer, Retry)
    assert (answer.scope, answer.after) == ("plugin", 17.0)
    assert answer.reason.startswith(f"HTTP {status} ")
    assert answer.reason.endswith("from localhost") or "127.0.0.1" in answer.reason


@pytest.mark.parametrize("status", OF_THE_EVENT)
async def test_trouble_of_the_event_makes_only_its_lane_wait(status: int):
    answer = await outcome(status, body="no such field: sequence")
    assert isinstance(answer, Retry)
    assert (answer.scope, answer.after) == ("lane", None)
    assert f"HTTP {status} " in answer.reason
    assert "no such field: sequence" in answer.reason


async def test_gone_pauses_the_plugin():
    answer = await outcome(410, body="endpoint removed")
    assert isinstance(answer, Pause)
    assert "410" in answer.reason
    assert "endpoint removed" in answer.reason


@pytest.mark.parametrize("status", REDIRECTS)
async def test_a_redirect_is_a_failure_that_names_only_the_other_host(status: int):
    async with receiver() as elsewhere:
        answer = await outcome(
            status, headers={"Location": elsewhere.url("/moved/tok-SECRETSECRET?x=1")}
        )
        assert elsewhere.posts == []
    assert isinstance(answer, Retry)
    assert answer.scope == "plugin"
    assert "redirects to 127.0.0.1 are not followed" in answer.reason
    assert "SECRETSECRET" not in answer.reason


@pytest.mark.parametrize("location", ["/x/SECRETSECRET", "", "http://[", "//\x7f"])
def test_a_redirect_to_nowhere_in_particular_is_a_failure_all_the_same(location: str):
    answer = Answer(status=302, location=location)
    refused = refusal(answer, host="a.example", now=NOW, secrets=[])
    assert "somewhere on the same host" in refused.reason
    assert "SECRETSECRET" not in refused.reason


@pytest.mark.parametrize("status", [100, 101, 199, 600, 700, 999])
def test_a_status_that_means_nothing_is_trouble_of_the_receiver(status: int):
    answer = Answer(status=status)
    refused = refusal(answer, host="a.example", now=NOW, secrets=[])
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


async def test_a_date_to_wait_for_is_kept_to_the_second():
    answer = await outcome(429, headers={"Retry-After": after(42)})
    assert isinstance(answer, Retry)
    assert answer.after is not None
    assert abs(answer.after - 42) <= 1


async def test_a_long_answer_is_cut_and_unprintable_parts_are_left_out():
    answer = await outcome(500, body="a\x00\x1b[31mb\u202ec\n\n\td " + "é" * 100_000)
    assert isinstance(answer, Retry)
    words = answer.reason.partition(": ")[2]
    assert words.startswith("a[31mbc d é")
    assert len(words) == 200
    assert answer.reason.isprintable()


async def test_an_encoded_answer_is_not_quoted():
    answer = await outcome(500, headers={"Content-Encoding": "br"}, body="\x8f\x02")
    assert isinstance(answer, Retry)
    assert answer.reason.endswith("from 127.0.0.1")
