"""What the demonstration's other processes have in common: a port, and an end.

Knows neither the daemon nor a broker.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import NamedTuple


class Offer(NamedTuple):
    """What the demonstration shows beside the webhooks, where it can be had."""

    table: str  #: of the configuration
    line: str  #: of the greeting: where to look


def free_port(*wanted: int) -> int | None:
    """Return the first of these loopback ports that nobody has; 0 stands for any."""
    for port in wanted:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    return None


async def end(process: asyncio.subprocess.Process, *, within: float) -> None:
    """Ask a child to stop; kill it if it has not within so many seconds."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(within):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
