"""Clients of a server made for a test: each served in a task, all ended with the block.

Knows no protocol; what is done for a client is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

Serve = Callable[
    [asyncio.StreamReader, asyncio.StreamWriter, AsyncExitStack], Awaitable[None]
]
"""Serves one client; what it opens for that is closed by the stack."""


@asynccontextmanager
async def serving_clients(serve: Serve) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1 and lend its number."""
    clients: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        async with AsyncExitStack() as stack:
            stack.callback(clients.discard, task)
            stack.callback(writer.close)
            try:
                await serve(reader, writer, stack)
            except* (OSError, asyncio.IncompleteReadError):
                pass  # one end has gone: so does the other

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in clients:
            task.cancel()
