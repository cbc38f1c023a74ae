"""The real server with TLS and one slow view, without a store behind it."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.operator_api import LOOPBACK, Fine
from tunewatch.plugin import Answer, Route
from tunewatch.web import Handshakes, TermsFile, serving


@dataclass(slots=True)
class Serving:
    """What is served, and what became of those who came."""

    port: int
    terms: TermsFile
    failed: Counter[str]
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(
        self, trust: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection, by TLS if it is said how to trust the server."""
        named = None if trust is None else "localhost"
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=trust, server_hostname=named
        )

    async def looked(self) -> None:
        """Let it see what has changed, and that it stays so."""
        await self.terms.look()
        await self.terms.look()


@asynccontextmanager
async def tls_server(
    path: Path, *, quiet: float = 60.0, patience: float = 5.0, **options: Any
) -> AsyncIterator[Serving]:
    """Serve by the web configuration in a file: `/slow` answers once it is let `go`."""
    failed: Counter[str] = Counter()
    terms = TermsFile(path, patience=patience)
    handshakes = Handshakes(lambda reason: failed.update([reason]), quiet=quiet)
    server = Serving(0, terms, failed)

    async def slow(_headers: Mapping[str, str]) -> Answer:
        server.asked.set()
        await server.go.wait()
        return Answer(body=b"whole", content_type="text/plain")

    async with serving(
        LOOPBACK,
        health=Fine(),
        views=(Route(path="/slow", respond=slow),),
        terms=terms,
        handshakes=handshakes,
        **options,
    ) as bound:
        server.port = bound.port
        yield server


async def asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str = "/livez"
) -> bytes:
    """Ask on an open connection and return the answer; empty if there is none."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return await answer(reader)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Return the answer that comes next; empty if the connection ends before."""
    try:
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            [size] = [line for line in lines if line.startswith(b"content-length:")]
            return head + await reader.readexactly(int(size.partition(b":")[2]))
    except (asyncio.IncompleteReadError, OSError):
        return b""
