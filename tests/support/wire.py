"""A wire to a server that can be cut: what is sent then arrives when it is mended.

Nothing is closed and nothing refused, as when packets are dropped in between: who waits
at either end learns nothing but that no answer comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from support.clients import serving_clients

_CHUNK = 65536


@dataclass(slots=True)
class Wire:
    """Where it begins, and whether anything passes."""

    port: int = 0
    _whole: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        """Let nothing pass, in neither direction."""
        self._whole.clear()

    def mend(self) -> None:
        """Let everything pass again, beginning with what was held up."""
        self._whole.set()

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on what comes until one end closes."""
        while chunk := await reader.read(_CHUNK):
            await self._whole.wait()
            writer.write(chunk)
            await writer.drain()
        raise ConnectionResetError("one end closed")


@asynccontextmanager
async def wire(server_port: int) -> AsyncIterator[Wire]:
    """Lay a wire to a server on 127.0.0.1 until the block ends."""
    laid = Wire()
    laid.mend()

    async def serve(
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stack: AsyncExitStack,
    ) -> None:
        to, back = await asyncio.open_connection("127.0.0.1", server_port)
        stack.callback(back.close)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(laid.carry(reader, back), name="to")
            tasks.create_task(laid.carry(to, writer), name="back")

    async with serving_clients(serve) as laid.port:
        yield laid
