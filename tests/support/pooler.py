"""A transaction pooler: each transaction of a client may meet another server session.

It changes the server connection after every transaction, which is what a real pooler
does when it is busy. Whoever relies on a session (prepared names, SET, locks) fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from support.clients import serving_clients

SESSIONS = 3
"""Server connections per client, used in turn."""

Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Pooler:
    """Where it listens, and what it has seen."""

    port: int = 0
    turns: int = 0  #: transactions that ended
    names: set[bytes] = field(default_factory=set)  #: of prepared statements


@asynccontextmanager
async def pooler(server_port: int) -> AsyncIterator[Pooler]:
    """Run a pooler before a server on 127.0.0.1 until the block ends."""
    seen = Pooler()

    async def serve(
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        await _Client((reader, writer), server_port, seen).run(stack)

    async with serving_clients(serve) as seen.port:
        yield seen


class _Client:
    def __init__(self, client: Pipe, server_port: int, seen: Pooler) -> None:
        self.client = client
        self.server_port = server_port
        self.seen = seen
        self.servers: list[Pipe] = []
        self.turn = 0

    async def run(self, stack: contextlib.AsyncExitStack) -> None:
        startup = await self._startup()
        if startup is None:
            return
        for number in range(SESSIONS):
            pipe = await asyncio.open_connection("127.0.0.1", self.server_port)
            stack.callback(pipe[1].close)
            self.servers.append(pipe)
            pipe[1].write(startup)
            while await self._answer(pipe, to_client=number == 0) != b"Z":
                pass
        self.seen.turns -= SESSIONS
        async with asyncio.TaskGroup() as tasks:
            for number, pipe in enumerate(self.servers):
                tasks.create_task(self._answers(pipe), name=f"answers:{number}")
            while True:
                await self._request()

    async def _startup(self) -> bytes | None:
        reader, writer = self.client
        while True:
            length = await reader.readexactly(4)
            rest = await reader.readexactly(int.from_bytes(length, "big") - 4)
            code = int.from_bytes(rest[:4], "big")
            if code == 80877103:  # SSLRequest
                writer.write(b"N")
            elif code == 80877102:  # CancelRequest: whom it means is not known here
                return None
            else:
                return length + rest

    @property
    def server(self) -> Pipe:
        return self.servers[self.turn % len(self.servers)]

    async def _request(self) -> None:
        kind, body = await _message(self.client[0])
        if kind == b"X":
            raise ConnectionResetError("the client left")
        if kind == b"P":
            self.seen.names.add(body.partition(b"\x00")[0])
        self.server[1].write(kind + (len(body) + 4).to_bytes(4, "big") + body)

    async def _answers(self, server: Pipe) -> None:
        while True:
            await self._answer(server, to_client=True)

    async def _answer(self, server: Pipe, *, to_client: bool) -> bytes:
        """Pass one answer on; a transaction that ended makes it another's turn."""
        kind, body = await _message(server[0])
        if kind == b"Z" and body == b"I":
            self.turn += 1
            self.seen.turns += 1
        if to_client:
            self.client[1].write(kind + (len(body) + 4).to_bytes(4, "big") + body)
        return kind


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
