"""Receivers of webhooks: one that keeps and answers, and one that misbehaves by hand.

Real servers on loopback. The first speaks HTTP by aiohttp; the second hands its tests
the bare streams.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request as it came."""

    path: str
    headers: dict[str, str]  #: names in lower case
    body: bytes


Respond = Callable[[Post], web.StreamResponse]


def accepted(_post: Post) -> web.StreamResponse:
    return web.Response(status=200)


@dataclass(slots=True)
class Receiver:
    """What a receiver got, and what it answers."""

    port: int = 0
    respond: Respond = accepted
    posts: list[Post] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)
    scheme: str = "http"
    host: str = "127.0.0.1"

    def url(self, path: str = "/hook") -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{name}:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        post = Post(path=request.path_qs, headers=headers, body=body)
        self.posts.append(post)
        if request.transport is not None:
            self.peers.add(request.transport.get_extra_info("peername"))
        return self.respond(post)


@asynccontextmanager
async def receiver(
    respond: Respond = accepted,
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    port: int = 0,
    keepalive: float = 75.0,
) -> AsyncIterator[Receiver]:
    """Run a receiver that keeps every request."""
    got = Receiver(respond=respond, host=host, scheme="https" if tls else "http")
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", got.answer)
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=keepalive, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        got.port = runner.addresses[0][1]
        yield got
    finally:
        await runner.cleanup()


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_receiver(
    handle: Handle, *, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Run a receiver that does with each connection what it likes; yield the port."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def served(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        tasks.add(asyncio.current_task())
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side has had enough: that is what is tested
        finally:
            writer.close()
            tasks.discard(asyncio.current_task())

    server = await asyncio.start_server(served, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await server.wait_closed()


async def request_read(reader: asyncio.StreamReader) -> bytes:
    """Read one whole request and return its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return await reader.readexactly(length)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on."""
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])
