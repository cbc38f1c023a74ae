from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import openai
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from support.receiver_server import Post, raw_receiver, receiver, request_read
from support.webhook_opening import SECRET, Lent, delivery, opened
from tunewatch.plugin import Retry
from tunewatch.testing.signatures import signature_problem

CLIENT = openai.OpenAI(api_key="unused")


class SystemTime:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def replaced(path: Path, text: str) -> None:
    """Replace a file as those who rotate do: whole, at once."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)  # noqa: PTH105 - the call that is meant, by its name


def fresh(number: int) -> str:
    return "whsec_" + base64.b64encode(number.to_bytes(4, "big") * 8).decode()


def shared(number: int) -> tuple[str, str]:
    """Return a secret as the two sides have it."""
    return fresh(number), fresh(number)


def halves(number: int) -> tuple[str, str]:
    """Return the private and the public half of a key."""
    seed = number.to_bytes(4, "big") * 8
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return (
        "whsk_" + base64.b64encode(seed + public).decode(),
        "whpk_" + base64.b64encode(public).decode(),
    )


@pytest.mark.parametrize("kinds", [(shared,), (halves,), (shared, halves)])
async def test_secrets_rotate_under_load_and_no_delivery_is_rejected(
    tmp_path: Path, kinds: tuple[Callable[[int], tuple[str, str]], ...]
):
    pairs = [kinds[number % len(kinds)](number) for number in range(61)]
    file = tmp_path / "secret"
    first, known = pairs[0]  # ours, and the receiver's
    file.write_text(first)
    rotations, rejected = 0, 0
    heard = asyncio.Event()

    def respond(post: Post) -> web.StreamResponse:
        nonlocal rejected
        heard.set()
        if signature_problem(post.headers, post.body, secrets=[known], now=time.time()):
            rejected += 1
            return web.Response(status=401)
        return web.Response()

    async def rotate() -> None:
        nonlocal known, rotations
        for (old, _), (new, theirs) in pairwise(pairs):
            # Both sign, then the receiver takes the new one, then the old one goes.
            replaced(file, f"{new}\n{old}\n")
            await settled_down()
            known = theirs
            await settled_down()
            replaced(file, f"{new}\n")
            await settled_down()
            rotations += 1

    async def settled_down() -> None:
        # Whatever was signed before has arrived when as many more have come as can
        # be under way.
        target = len(got.posts) + 16
        while len(got.posts) < target:
            heard.clear()
            await heard.wait()

    async def deliver_on() -> None:
        number = 0
        while True:
            number += 1
            await webhook.deliver(delivery(number))

    async with (
        receiver(respond) as got,
        opened(
            {"url": got.url(), "secret_file": str(file)}, lent=Lent(clock=SystemTime())
        ) as webhook,
        asyncio.timeout(60),
        asyncio.TaskGroup() as tasks,
    ):
        loads = [
            tasks.create_task(deliver_on(), name=f"load:{number}")
            for number in range(8)
        ]
        await rotate()
        for load in loads:
            load.cancel()
    assert rotations == 60
    assert rejected == 0
    assert len(got.posts) >= 60 * 3 * 16


async def test_a_file_gone_wrong_is_said_once_and_the_last_good_secret_signs_on(
    tmp_path: Path,
):
    file = tmp_path / "secret"
    file.write_text(SECRET)
    lent = Lent(clock=SystemTime())
    async with (
        receiver() as got,
        opened({"url": got.url(), "secret_file": str(file)}, lent=lent) as webhook,
    ):
        replaced(file, "whsec_CANARYCANARY\n")
        for number in range(3):
            await webhook.deliver(delivery(number))
        replaced(file, f"{fresh(1)}\n")
        for number in range(3):
            await webhook.deliver(delivery(number))
    for post in got.posts[:3]:
        CLIENT.webhooks.verify_signature(post.body, post.headers, secret=SECRET)
    for post in got.posts[3:]:
        CLIENT.webhooks.verify_signature(post.body, post.headers, secret=fresh(1))
    assert [entry["event"] for entry in lent.log.entries] == [
        "webhook.setting_unusable",
        "webhook.setting_restored",
    ]
    assert str(file) in lent.log.entries[0]["reason"]
    assert "CANARY" not in str(lent.log.entries)


async def test_a_url_moves_with_its_file_and_what_is_under_way_ends_where_it_began(
    tmp_path: Path,
):
    file = tmp_path / "url"
    arrived, answer = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_read(reader)
        arrived.set()
        await answer.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with raw_receiver(slow) as old, receiver() as new:
        file.write_text(f"http://127.0.0.1:{old}/hook")
        async with opened({"url_file": str(file)}) as webhook:
            async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
                tasks.create_task(webhook.deliver(delivery(1)), name="under way")
                await arrived.wait()
                replaced(file, new.url("/moved"))
                await webhook.deliver(delivery(2))
                answer.set()
            await webhook.deliver(delivery(3))
    assert [post.path for post in new.posts] == ["/moved", "/moved"]


async def test_a_url_that_moves_to_a_forbidden_place_is_not_followed(tmp_path: Path):
    file = tmp_path / "url"
    lent = Lent()
    async with receiver() as got:
        file.write_text(got.url("/good"))
        table = {"url_file": str(file), "allow_hosts": ["127.0.0.1"]}
        async with opened(table, lent=lent) as webhook:
            replaced(file, f"http://127.0.0.2:{got.port}/CANARY")
            await webhook.deliver(delivery())
    assert [post.path for post in got.posts] == ["/good"]
    (said,) = lent.log.entries
    assert "127.0.0.2 is loopback" in said["reason"]
    assert "CANARY" not in str(said)


async def test_a_refused_signature_is_tried_again_with_the_secret_of_the_moment(
    tmp_path: Path,
):
    file = tmp_path / "secret"
    file.write_text(fresh(1))

    def respond(post: Post) -> web.StreamResponse:
        try:
            CLIENT.webhooks.verify_signature(post.body, post.headers, secret=fresh(2))
        except openai.InvalidWebhookSignatureError:
            return web.Response(status=401)
        return web.Response()

    async with (
        receiver(respond) as got,
        opened(
            {"url": got.url(), "secret_file": str(file)}, lent=Lent(clock=SystemTime())
        ) as webhook,
    ):
        with pytest.raises(Retry) as refused:
            await webhook.deliver(delivery())
        assert refused.value.scope == "plugin"
        replaced(file, fresh(2))
        await webhook.deliver(delivery())
    assert len(got.posts) == 2
