"""The sockets that are listened on, how connections begin, and how they are ended.

With other terms of TLS the same sockets are listened on anew: what waits in them is
kept, and connections that are open know nothing of it, unless they are to end.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any, NoReturn

from aiohttp import web

from tunewatch.config import Address
from tunewatch.web.handshakes import Handshakes

BACKLOG = 128  #: connections that wait to be taken
FAREWELL = 1.0  #: s for it to answer that the connection ends


class Listener:
    """Listens until it is closed, while `keep` runs.

    A client has `patience` seconds to agree upon TLS; of those with whom that fails
    `handshakes` hears.
    """

    def __init__(self, *, patience: float, handshakes: Handshakes) -> None:
        self._patience = patience
        self._handshakes = handshakes
        self._server: web.Server | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self.era = 0  #: rises whenever those who are connected have to go
        self._servers: list[asyncio.Server] = []
        self._context: ssl.SSLContext | None = None

    async def keep(self) -> NoReturn:
        """Own what goes on beside: connections that end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
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
        self._handshakes.watch(context)
        where = {"host": address.host, "port": address.port}
        listening = await self._listening(context, **where)
        self._servers, self._context = [listening], context
        host, port = listening.sockets[0].getsockname()[:2]
        return Address(host, port)

    async def exchange(self, context: ssl.SSLContext | None) -> None:
        """Begin connections by another context from now on. Raises OSError."""
        if context is self._context or not self._servers:
            return
        self._handshakes.watch(context)
        begun: list[asyncio.Server] = []
        try:
            for server in self._servers:
                for one in server.sockets:
                    begun.append(await self._again(one.fileno(), context))  # noqa: PERF401 - what was begun is ended if one fails
        except OSError:
            for server in begun:
                server.close()
            raise
        ended, self._servers, self._context = self._servers, begun, context
        await _ended(ended)

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
        for server in self._servers:
            server.close()
        self._servers = []

    def _begun(self) -> asyncio.Protocol:
        if self._server is None:
            raise RuntimeError("it listens")
        return self._server()

    async def _again(
        self, number: int, context: ssl.SSLContext | None
    ) -> asyncio.Server:
        # A second handle of the same socket: closing the first one ends nothing.
        listening = socket.socket(fileno=os.dup(number))
        try:
            return await self._listening(context, sock=listening)
        except BaseException:
            listening.close()
            raise

    async def _listening(
        self, context: ssl.SSLContext | None, **where: Any
    ) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            self._begun,
            **where,
            backlog=BACKLOG,
            ssl=context,
            ssl_handshake_timeout=None if context is None else self._patience,
            ssl_shutdown_timeout=None if context is None else FAREWELL,
        )


async def _ended(servers: list[asyncio.Server]) -> None:
    """Close servers whose sockets others listen on, too.

    asyncio's own loop loses a connection that it took just before its server is
    closed: it stays open and nobody answers. So first none is taken any more, then
    those taken get their turn. uvloop has no reader for such a socket and needs none.
    """
    loop = asyncio.get_running_loop()
    for server in servers:
        for one in server.sockets:
            loop.remove_reader(one.fileno())
    await asyncio.sleep(0)
    for server in servers:
        server.close()
