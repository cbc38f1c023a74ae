"""The sockets that are listened on, and how connections begin.

With other terms of TLS the same sockets are listened on anew: what waits in them is
kept, and connections that are open know nothing of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable

from tunewatch.config import Address

BACKLOG = 128  #: connections that wait to be taken
FAREWELL = 1.0  #: s for it to answer that the connection ends

Factory = Callable[[], asyncio.Protocol]


class Listener:
    """Listens until it is closed.

    `factory` makes what serves a connection; a client has `patience` seconds to agree
    upon TLS.
    """

    def __init__(self, factory: Factory, *, patience: float) -> None:
        self._factory = factory
        self._patience = patience
        self._servers: list[asyncio.Server] = []
        self._context: ssl.SSLContext | None = None

    async def open(self, address: Address, context: ssl.SSLContext | None) -> Address:
        """Listen; return the address it is bound to. Raises OSError."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            self._factory,
            address.host,
            address.port,
            backlog=BACKLOG,
            ssl=context,
            ssl_handshake_timeout=_if(context, self._patience),
            ssl_shutdown_timeout=_if(context, FAREWELL),
        )
        self._servers, self._context = [server], context
        host, port = server.sockets[0].getsockname()[:2]
        return Address(host, port)

    async def exchange(self, context: ssl.SSLContext | None) -> None:
        """Begin connections by another context from now on. Raises OSError."""
        if context is self._context or not self._servers:
            return
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

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        for server in self._servers:
            server.close()
        self._servers = []

    async def _again(
        self, number: int, context: ssl.SSLContext | None
    ) -> asyncio.Server:
        # A second handle of the same socket: closing the first one ends nothing.
        listening = socket.socket(fileno=os.dup(number))
        try:
            loop = asyncio.get_running_loop()
            return await loop.create_server(
                self._factory,
                sock=listening,
                backlog=BACKLOG,
                ssl=context,
                ssl_handshake_timeout=_if(context, self._patience),
                ssl_shutdown_timeout=_if(context, FAREWELL),
            )
        except BaseException:
            listening.close()
            raise


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


def _if(context: ssl.SSLContext | None, seconds: float) -> float | None:
    return None if context is None else seconds
