"""The sockets that are listened on, how connections begin, and how they are ended.

By TLS each connection is taken by itself, so that it is known whose handshake fails.
With other terms the same sockets are listened on: what waits in them is kept, and
connections that are open know nothing of it, unless they are to end.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import NoReturn

import structlog
from aiohttp import web

from tunewatch.config import Address
from tunewatch.telemetry import Outage
from tunewatch.unbidden import begin
from tunewatch.web.handshakes import Handshakes

BACKLOG = 128  #: connections that wait to be taken
FAREWELL = 1.0  #: s for it to answer that the connection ends
AGAIN = 1.0  #: s until a connection is taken after one could not be


class Listener:
    """Listens until it is closed, while `keep` runs.

    A client has `patience` seconds to say something, and as many to agree upon TLS; of
    those with whom that fails `handshakes` hears.
    """

    def __init__(self, *, patience: float, handshakes: Handshakes) -> None:
        self._patience = patience
        self._handshakes = handshakes
        self._server: web.Server | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._is_kept = asyncio.Event()
        self.era = 0  #: rises whenever those who are connected have to go
        self._plain: asyncio.Server | None = None
        self._taking: list[asyncio.Task[NoReturn]] = []
        self._context: ssl.SSLContext | None = None

    async def keep(self) -> NoReturn:
        """Own what goes on beside: connections that begin by TLS, or end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._is_kept.set()
                while True:
                    await asyncio.get_running_loop().create_future()
        finally:
            self._tasks = None
            self._handshakes.close()

    async def open(
        self, server: web.Server, address: Address, context: ssl.SSLContext | None
    ) -> Address:
        """Listen; return the address it is bound to. Raises OSError.

        `server` serves the connections.
        """
        self._server = server
        plain = await asyncio.get_running_loop().create_server(
            self._begun,
            host=address.host,
            port=address.port,
            backlog=BACKLOG,
            start_serving=context is None,
        )
        host, port = plain.sockets[0].getsockname()[:2]
        self._plain = plain
        await self.exchange(context)
        return Address(host, port)

    async def exchange(self, context: ssl.SSLContext | None) -> None:
        """Begin connections by another context from now on. Raises OSError."""
        self._handshakes.watch(context)
        if context is not None and self._plain is not None:
            await self._is_kept.wait()
            plain, self._plain = self._plain, None
            listening = [_again(one.fileno()) for one in plain.sockets]
            self._taking = [self._begin_to_take(one) for one in listening]
            self._context = context
            await _ended(plain)
        self._context = context

    def send_away(self, before: ssl.SSLContext | None, *, within: float) -> int:
        """End the connections that began by a context before; return how many.

        What is asked right now gets its answer, if that comes within so many seconds.
        """
        self.era += 1
        self._handshakes.withdraw(before)
        if self._server is None or self._tasks is None:
            return 0
        connections = self._server.connections
        for one in connections:
            one.close()  # takes no further request
            self._tasks.create_task(one.shutdown(within), name="web.farewell")
        return len(connections)

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        if self._plain is not None:
            self._plain.close()
            self._plain = None
        for task in self._taking:
            task.cancel()
        self._taking = []

    def _begun(self) -> asyncio.Protocol:
        if self._server is None:
            raise RuntimeError("it listens")
        return self._server()

    def _begin_to_take(self, listening: socket.socket) -> asyncio.Task[NoReturn]:
        if self._tasks is None:
            raise RuntimeError("it is kept")
        return begin(self._tasks, "web.accept", self._take(self._tasks, listening))

    async def _take(
        self, tasks: asyncio.TaskGroup, listening: socket.socket
    ) -> NoReturn:
        """Take one connection after the other, and let each agree upon TLS aside."""
        loop = asyncio.get_running_loop()
        trouble = Outage(structlog.get_logger(), "web.accept")
        with listening:
            while True:
                try:
                    taken, where = await loop.sock_accept(listening)
                except ConnectionError:
                    continue  # it went before it was taken
                except OSError as error:  # too many files are open, as a rule
                    trouble.began((error.strerror or "OSError").lower())
                    await asyncio.sleep(AGAIN)
                    continue
                trouble.ended()
                agreeing = self._agree(taken, str(where[0]))
                tasks.create_task(agreeing, name="web.handshake")

    async def _agree(self, taken: socket.socket, client: str) -> None:
        """Begin a connection by TLS, once its first byte is there.

        Who says nothing, as probes do, has begun none that could fail.
        """
        context = None
        try:
            async with asyncio.timeout(self._patience):
                is_there = await _speaks(taken)
            if is_there:
                context = self._context
                await self._secure(taken, context)
        except OSError as error:
            if context is not None:
                self._handshakes.note(error, client, context)

    async def _secure(
        self, taken: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            self._begun,
            taken,
            ssl=context,
            ssl_handshake_timeout=None if context is None else self._patience,
            ssl_shutdown_timeout=None if context is None else FAREWELL,
        )


async def _speaks(taken: socket.socket) -> bool:
    """Wait for the first byte, and leave it there; close it if it ends without.

    Raises OSError.
    """
    is_there = False
    try:
        while True:
            try:
                is_there = bool(taken.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                await _readable(taken)
            else:
                return is_there
    finally:
        if not is_there:
            taken.close()


async def _readable(taken: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(taken.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(taken.fileno())


def _again(number: int) -> socket.socket:
    """Return a second handle of a socket: closing the first one ends nothing."""
    listening = socket.socket(fileno=os.dup(number))
    listening.setblocking(False)
    listening.listen(BACKLOG)
    return listening


async def _ended(server: asyncio.Server) -> None:
    """Close a server whose sockets others listen on, too.

    asyncio's own loop loses a connection that it took just before its server is
    closed: it stays open and nobody answers. So first none is taken any more, then
    those taken get their turn. uvloop has no reader for such a socket and needs none.
    """
    loop = asyncio.get_running_loop()
    for one in server.sockets:
        loop.remove_reader(one.fileno())
    await asyncio.sleep(0)
    server.close()
