from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from support.certificates import issued
from support.receiver_server import (
    Post,
    free_port,
    raw_receiver,
    receiver,
    request_read,
)
from support.webhook_opening import Lent, delivery, opened
from tunewatch.plugin import Retry
from tunewatch_plugins.webhook import transport
from tunewatch_plugins.webhook.sink import Webhook

OK = b"HTTP/1.1 200 OK\r\n"
FAILED = b"HTTP/1.1 500 Oops\r\n"
TIMEOUT = 4.5  #: s, what a delivery may take here
LATEST = TIMEOUT * transport.SHARE + 1.0  #: s, no delivery may take longer
MEBIBYTE = 1024 * 1024


class Waterline:
    """How much memory this process took at most beyond what it had before.

    And for how long at most nothing else could run, in seconds.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self.risen = 0
        self.stalled = 0.0

    async def watch(self) -> None:
        while True:
            now = self._process.memory_info().rss
            self.risen = max(self.risen, now - self._before)
            began = time.monotonic()
            await asyncio.sleep(0.01)
            self.stalled = max(self.stalled, time.monotonic() - began - 0.01)


@asynccontextmanager
async def watched() -> AsyncIterator[Waterline]:
    line = Waterline()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(line.watch(), name="waterline")
        yield line
        task.cancel()


async def flood(writer: asyncio.StreamWriter, piece: bytes, pieces: int) -> int:
    """Write as long as it is taken; return how many bytes were."""
    sent = 0
    try:
        for _ in range(pieces):
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
    except ConnectionError:
        pass  # enough is enough: what is tested
    return sent


async def tried(webhook: Webhook) -> tuple[Retry | None, float]:
    """Deliver once; return what was raised and the seconds it took."""
    began = time.monotonic()
    try:
        await webhook.deliver(delivery())
    except Retry as retry:
        return retry, time.monotonic() - began
    return None, time.monotonic() - began


def local(port: int) -> dict[str, object]:
    return {"url": f"http://127.0.0.1:{port}/hook"}


@pytest.mark.parametrize("head", [OK, FAILED])
@pytest.mark.parametrize("is_chunked", [True, False])
async def test_of_a_flood_little_is_read_and_nothing_kept(
    head: bytes, is_chunked: bool
):
    length = 1024 * MEBIBYTE
    piece = b"x" * MEBIBYTE
    framing = b"Content-Length: %d\r\n\r\n" % length
    if is_chunked:
        framing = b"Transfer-Encoding: chunked\r\n\r\n"
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)
    taken = []

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_read(reader)
        writer.transport.set_write_buffer_limits(high=64 * 1024)
        writer.write(head + framing)
        taken.append(await flood(writer, piece, 1024))

    async with raw_receiver(handle) as port, opened(local(port)) as webhook:
        await tried(webhook)  # what is imported and set up once is not the flood's
        async with watched() as line:
            retry, seconds = await tried(webhook)
    assert (retry is None) is (head is OK)
    assert seconds < 2
    assert line.risen <= 5 * MEBIBYTE
    assert max(taken, default=0) <= 8 * MEBIBYTE


@pytest.mark.parametrize("head", [OK, FAILED])
async def test_a_dripping_answer_is_not_waited_for(head: bytes):
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_read(reader)
        writer.write(head + b"Content-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.2)

    async with raw_receiver(handle) as port, opened(local(port)) as webhook:
        retry, seconds = await tried(webhook)
    assert (retry is None) is (head is OK)
    assert seconds < 2


@pytest.mark.parametrize(
    "piece",
    [
        b"X-Bomb: " + b"x" * 65_536,  # one header without end
        b"X-Bomb: y\r\n" * 4096,  # headers without end
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2048,  # hints without end
    ],
)
async def test_headers_without_end_are_cut_short(piece: bytes):
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_read(reader)
        writer.transport.set_write_buffer_limits(high=64 * 1024)
        if not piece.startswith(b"HTTP"):
            writer.write(OK)
        await flood(writer, piece, 100_000)

    async with (
        raw_receiver(handle) as port,
        opened(local(port), lent=Lent(timeout=TIMEOUT)) as webhook,
    ):
        await tried_briefly(webhook)
        async with watched() as line:
            retry, seconds = await tried(webhook)
    assert retry is not None
    assert retry.scope == "plugin"
    assert seconds <= LATEST
    assert line.risen <= 5 * MEBIBYTE
    assert line.stalled <= 0.5


async def tried_briefly(webhook: Webhook) -> None:
    """Let everything be set up that is set up once."""
    try:
        async with asyncio.timeout(0.5):
            await tried(webhook)
    except TimeoutError:
        pass


@pytest.mark.parametrize("framing", [b"", b"Transfer-Encoding: chunked\r\n\r\nffff"])
async def test_silence_ends_by_the_deadline(framing: bytes):
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_read(reader)
        if framing:
            writer.write(FAILED + framing)
        await reader.read()  # until the other side gives up

    async with (
        raw_receiver(handle) as port,
        opened(local(port), lent=Lent(timeout=TIMEOUT)) as webhook,
    ):
        retry, seconds = await tried(webhook)
    assert retry is not None
    assert retry.scope == "plugin"
    assert seconds <= LATEST
    if not framing:
        assert retry.reason == f"no answer from 127.0.0.1:{port} within 3 s"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x00\x01\x02 garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Header\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"<html>not http</html>",
    ],
)
async def test_what_is_not_http_is_trouble_of_the_receiver(said: bytes):
    asked = []

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_read(reader)
        asked.append(said)
        writer.write(said)
        await writer.drain()

    async with (
        raw_receiver(handle) as port,
        opened(local(port), lent=Lent(timeout=TIMEOUT)) as webhook,
    ):
        retry, _ = await tried(webhook)
    assert retry is not None
    assert retry.scope == "plugin"
    assert f"127.0.0.1:{port}" in retry.reason or "127.0.0.1" in retry.reason
    assert "/hook" not in retry.reason
    # A connection of its own that breaks is no reason to send twice.
    assert len(asked) == 1


async def test_a_body_that_breaks_off_after_2xx_is_received_all_the_same():
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_read(reader)
        writer.write(OK + b"Content-Length: 100\r\n\r\nhalf")
        await writer.drain()

    async with raw_receiver(handle) as port, opened(local(port)) as webhook:
        retry, _ = await tried(webhook)
    assert retry is None


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_connection_that_never_stands_is_given_up_in_time(scheme: str):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        full = [socket.socket() for _ in range(4)]
        if scheme == "http":  # whoever waits in line keeps the next one out
            for waiting in full:
                waiting.setblocking(False)
                waiting.connect_ex(("127.0.0.1", port))
        async with opened({"url": f"{scheme}://127.0.0.1:{port}/hook"}) as webhook:
            retry, seconds = await tried(webhook)
        for waiting in full:
            waiting.close()
    assert retry is not None
    assert retry.reason == f"no connection to 127.0.0.1:{port} within 5 s"
    assert seconds <= transport.CONNECT + 1.5


async def test_nobody_listening_is_told_in_words():
    port = free_port()
    async with opened(local(port)) as webhook:
        retry, _ = await tried(webhook)
    assert retry is not None
    assert retry.scope == "plugin"
    assert f"cannot connect to 127.0.0.1:{port}: Connect call failed" in retry.reason


async def test_connections_are_kept_and_never_more_than_deliveries_at_once():
    async with receiver() as got, opened({"url": got.url()}) as webhook:
        for _ in range(20):
            async with asyncio.TaskGroup() as tasks:
                for number in range(8):
                    tasks.create_task(
                        webhook.deliver(delivery(number)), name=f"delivery:{number}"
                    )
    assert len(got.posts) == 160
    assert len(got.peers) <= 8


async def test_a_connection_dropped_while_idle_is_no_failure():
    served: list[int] = []

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # Answers as if it would keep the connection; drops it at the next request,
        # which is the moment at which nobody can have noticed.
        await request_read(reader)
        served.append(1)
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read(1)
        writer.transport.abort()

    async with raw_receiver(handle) as port, opened(local(port)) as webhook:
        for _ in range(3):
            async with asyncio.TaskGroup() as tasks:
                for number in range(16):
                    tasks.create_task(
                        webhook.deliver(delivery(number)), name=f"delivery:{number}"
                    )
    assert len(served) == 48


async def test_a_receiver_restarted_between_deliveries_is_no_failure():
    port = free_port()
    url = {"url": f"http://127.0.0.1:{port}/hook"}
    async with opened(url) as webhook:
        for _ in range(3):
            async with receiver(port=port) as got:
                async with asyncio.TaskGroup() as tasks:
                    for number in range(16):
                        tasks.create_task(
                            webhook.deliver(delivery(number)),
                            name=f"delivery:{number}",
                        )
                assert len(got.posts) == 16


async def test_a_cancelled_delivery_ends_at_once_and_leaves_the_next_in_order():
    is_silent = True

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_read(reader)
        if is_silent:
            await reader.read()
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        await writer.drain()

    async with raw_receiver(handle) as port, opened(local(port)) as webhook:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await webhook.deliver(delivery())
        assert time.monotonic() - began < 1
        is_silent = False
        retry, _ = await tried(webhook)
    assert retry is None


async def test_cookies_of_a_receiver_are_not_kept():
    def respond(_post: Post) -> web.StreamResponse:
        return web.Response(headers={"Set-Cookie": "sid=1; Path=/"})

    async with receiver(respond) as got, opened({"url": got.url()}) as webhook:
        await webhook.deliver(delivery())
        await webhook.deliver(delivery())
    assert all("cookie" not in post.headers for post in got.posts)


async def test_an_ipv6_receiver_is_reached():
    async with receiver(host="::1") as got, opened({"url": got.url()}) as webhook:
        await webhook.deliver(delivery())
    assert got.posts[0].headers["host"] == f"[::1]:{got.port}"


async def test_a_name_is_kept_as_host_whatever_address_it_leads_to():
    async with receiver() as got:
        url = f"http://localhost:{got.port}/hook"
        async with opened({"url": url}) as webhook:
            await webhook.deliver(delivery())
    assert got.posts[0].headers["host"] == f"localhost:{got.port}"


async def test_tls_is_by_the_named_authorities_and_by_the_name_asked(tmp_path: Path):
    papers = issued(tmp_path, name="localhost")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(papers.certificate, papers.key)
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with receiver(tls=server) as got:
        named = f"https://localhost:{got.port}/hook"
        trusted = {"url": named, "ca_file": str(papers.authority)}
        async with opened(trusted) as webhook:
            await webhook.deliver(delivery())
        async with opened({"url": named}) as webhook:
            stranger, _ = await tried(webhook)
        async with opened({**trusted, "url": got.url()}) as webhook:
            another, _ = await tried(webhook)
    assert len(got.posts) == 1
    assert asked[:2] == ["localhost", "localhost"]
    for retry in (stranger, another):
        assert retry is not None
        assert retry.scope == "plugin"
        assert "is refused: " in retry.reason
