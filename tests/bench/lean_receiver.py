"""Receivers in a process of their own: one as people write them, one as lean as can be.

Both answer 204 to every POST and note when each webhook came, on the clock that all
processes of a machine share. The lean one notes the first byte and speaks just the HTTP
that the clients under test send; paths tell it how to behave: `/hang` reads and never
answers. The usual one is an aiohttp server.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from aiohttp import web

from bench.loop import run as on_our_loop

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *([^\r]+)", re.IGNORECASE)


class _Requests(asyncio.Protocol):
    """The requests of one connection."""

    def __init__(self, came: dict[tuple[str, str], float]) -> None:
        self._came = came  #: first byte, by path and webhook-id
        self._buffer = b""
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._since = time.monotonic()
        self._buffer += data
        while (size := self._whole()) and len(self._buffer) >= size:
            self._answer(self._buffer[:size])
            self._buffer = self._buffer[size:]

    def _whole(self) -> int:
        """Return the length of the first request, 0 while its head is not here."""
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return 0
        found = _LENGTH.search(self._buffer, 0, head)
        return head + 4 + (int(found[1]) if found else 0)

    def _answer(self, request: bytes) -> None:
        path = request[: request.index(b"\r\n")].split(b" ")[1].decode()
        found = _ID.search(request)
        if found:
            self._came.setdefault((path, found[1].decode()), self._since)
        if path != "/hang":
            self._transport.write(ANSWER)


@dataclass(slots=True)
class LeanReceiver:
    """The receiver as its parent sees it."""

    pipe: Connection
    port: int

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def took(self) -> dict[tuple[str, str], float]:
        """Return when webhooks came, by path and id, and forget them."""
        self.pipe.send("took")
        came: dict[tuple[str, str], float] = self.pipe.recv()
        return came


async def _lean_server(came: dict[tuple[str, str], float]) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Requests(came), "127.0.0.1", 0)


async def _usual_server(came: dict[tuple[str, str], float]) -> asyncio.Server:
    async def received(request: web.BaseRequest) -> web.Response:
        await request.read()
        name = request.headers.get("webhook-id", "")
        came.setdefault((request.path, name), time.monotonic())
        return web.Response(status=204)

    loop = asyncio.get_running_loop()
    return await loop.create_server(web.Server(received), "127.0.0.1", 0)


def _serve(pipe: Connection, *, is_lean: bool) -> None:
    came: dict[tuple[str, str], float] = {}

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await (_lean_server(came) if is_lean else _usual_server(came))
        over = asyncio.Event()

        def asked() -> None:
            try:
                pipe.recv()
            except EOFError:
                loop.remove_reader(pipe.fileno())
                over.set()
                return
            os.set_blocking(pipe.fileno(), True)  # the loop's readers are not
            pipe.send(came)
            came.clear()

        loop.add_reader(pipe.fileno(), asked)
        pipe.send(server.sockets[0].getsockname()[1])
        await over.wait()

    on_our_loop(run())


def usual_receiver() -> AbstractContextManager[LeanReceiver]:
    """Run an aiohttp receiver until the block ends."""
    return lean_receiver(is_lean=False)


@contextmanager
def lean_receiver(*, is_lean: bool = True) -> Iterator[LeanReceiver]:
    """Run the receiver until the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs,), kwargs={"is_lean": is_lean}, name="receiver"
    )
    process.start()
    theirs.close()
    try:
        yield LeanReceiver(ours, ours.recv())
    finally:
        ours.close()
        process.join(timeout=5)
        if process.is_alive():
            process.kill()
            process.join()
