"""The way in for webhooks: bounded, and telling nothing to who has no secret."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tunewatch.config import Address
from tunewatch.web import Heard, Readiness, serving
from tunewatch.web.hooks import LARGEST

LOOPBACK = Address("127.0.0.1", 0)
ANYWHERE = Address("0.0.0.0", 0)  # noqa: S104 - inside of the test's own machine
HERE = "/hooks/openai/research"


class Healthy:
    def live(self):
        return []

    def ready(self):
        return Readiness(ready=True)


class Ears:
    """Takes webhooks of one source and keeps what it got."""

    def __init__(self) -> None:
        self.answer = Heard.TAKEN
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.dropped = 0

    def takes(self, kind, source):
        return (kind, source) == ("openai", "research")

    async def hear(self, kind, source, headers, body):
        assert self.takes(kind, source)
        self.heard.append((dict(headers), body))
        return self.answer

    def unread(self, kind, source):
        assert self.takes(kind, source)
        self.dropped += 1


@pytest.fixture
def ears():
    return Ears()


@asynccontextmanager
async def posting(ears, address=LOOPBACK, **options):
    """Serve, and lend a function that posts and returns status, headers and body."""
    async with (
        serving(address, health=Healthy(), hooks=ears, **options) as bound,
        aiohttp.ClientSession(f"http://127.0.0.1:{bound.port}") as session,
    ):

        async def post(path=HERE, method="POST", **given):
            async with session.request(method, path, **given) as answer:
                return answer.status, answer.headers, await answer.read()

        yield post


async def test_a_webhook_is_handed_on_as_it_came(ears):
    async with posting(ears) as post:
        status, _, body = await post(data=b'{"a": 1}', headers={"Webhook-Id": "wh_1"})
    assert (status, body) == (204, b"")
    ((headers, heard),) = ears.heard
    assert heard == b'{"a": 1}'
    assert headers["webhook-id"] == "wh_1"


@pytest.mark.parametrize(
    ("heard", "status"),
    [(Heard.REFUSED, 401), (Heard.UNREADABLE, 400), (Heard.NOT_NOW, 503)],
)
async def test_what_was_not_taken_is_told_as_a_problem(ears, heard, status):
    ears.answer = heard
    async with posting(ears) as post:
        answered, headers, body = await post(data=b"x")
    assert answered == status
    assert headers["Content-Type"] == "application/problem+json"
    assert json.loads(body)["status"] == status
    assert ("Retry-After" in headers) == (heard is Heard.NOT_NOW)


@pytest.mark.parametrize(
    "path",
    [
        "/hooks/openai/other",
        "/hooks/azure/research",
        "/hooks/openai/",
        "/hooks/openai",
        "/hooks/openai/research/more",
        "/hooks/openai/research%2F..%2Fother",
        "/hooks/",
    ],
)
async def test_a_source_that_takes_none_looks_like_one_that_is_not_there(ears, path):
    async with posting(ears) as post:
        there = json.loads((await post("/hooks/openai/other", data=b"x"))[2])
        status, _, body = await post(path, data=b"x")
    assert status == 404
    assert json.loads(body) == there
    assert ears.heard == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_webhooks_are_posted_and_nothing_else(ears, method):
    async with posting(ears) as post:
        status, headers, _ = await post(method=method)
    assert (status, headers["Allow"]) == (405, "POST")
    assert ears.heard == []


async def test_a_body_may_be_64_kib_and_not_a_byte_more(ears):
    async def drip(size):
        for _ in range(size // 1024):
            yield b"x" * 1024
        yield b"x" * (size % 1024)

    async with posting(ears) as post:
        assert (await post(data=b"x" * LARGEST))[0] == 204
        assert (await post(data=drip(LARGEST)))[0] == 204
        assert (await post(data=b"x" * (LARGEST + 1)))[0] == 413
        assert (await post(data=drip(LARGEST + 1)))[0] == 413
    assert [len(body) for _, body in ears.heard] == [LARGEST, LARGEST]
    assert ears.dropped == 2


async def test_a_body_that_does_not_come_is_given_up(ears):
    async def never():
        yield b"{"
        await asyncio.Event().wait()

    async with posting(ears, slowest=0.1) as post, asyncio.timeout(10):
        status, headers, _ = await post(data=never())
    assert (status, headers["Connection"]) == (408, "close")
    assert (ears.dropped, ears.heard) == (1, [])


async def test_a_compressed_body_is_not_unpacked(ears):
    async with posting(ears) as post:
        bomb = gzip.compress(b"0" * 10_000_000)
        status, _, _ = await post(data=bomb, headers={"Content-Encoding": "gzip"})
    assert status == 415
    assert ears.heard == []


async def test_off_loopback_webhooks_need_no_token(ears):
    async with posting(ears, ANYWHERE, token=lambda: "token") as post:
        assert (await post(data=b"x"))[0] == 204


@pytest.mark.parametrize("address", [LOOPBACK, ANYWHERE])
async def test_the_name_that_the_provider_knows_is_nothing_to_the_route(ears, address):
    async with posting(ears, address) as post:
        headers = {"Host": "tunewatch.acme.example"}
        assert (await post(data=b"x", headers=headers))[0] == 204
        if address is LOOPBACK:
            assert (await post("/readyz", "GET", headers=headers))[0] == 403
