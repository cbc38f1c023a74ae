"""One POST and its answer over a kept connection: aiohttp without its session.

The connector, its TLS and the parser are aiohttp's. What is left out is what no webhook
has any use for (cookies, redirects, proxies, encodings, streams of requests), which is
more than half of what a POST costs. Does not know what an answer means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from tunewatch.deadline import Limit
from tunewatch_plugins.webhook.answers import Answer

LINGER = 0.75  #: s, for the rest of an answer that already says what counts
MOST_READ = 64 * 1024  #: bytes of an answer's body
MOST_HINTS = 16  #: answers 1xx before the one that counts
_WINDOW = 16 * 1024  #: bytes read ahead


class NotHttp(aiohttp.ClientError):
    """What came back cannot be read; `message` says why, in the parser's words."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Exchange:
    """POSTs to one URL through a connector that belongs to it."""

    def __init__(
        self,
        url: URL,
        connector: aiohttp.TCPConnector,
        *,
        headers: Mapping[str, str],
        connect: float,
    ) -> None:
        """Send `headers` with every POST; `connect` is s for a connection to stand."""
        self._connector = connector
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect)
        # Never sent: it tells the connector where to go and what to expect there.
        self._where = ClientRequest("POST", url, loop=asyncio.get_running_loop())
        self._head = _lines(
            f"POST {url.raw_path_qs} HTTP/1.1",
            {"host": self._where.headers["host"], **headers},
        )

    async def post(
        self, headers: Mapping[str, str], body: bytes, limit: Limit
    ) -> Answer:
        """Return the answer to one POST; `limit` holds until it has begun.

        Raises aiohttp.ClientError and OSError, of which TimeoutError is one.
        """
        head = _lines(self._head, {**headers, "content-length": str(len(body))})
        connection = await self._connected()
        try:
            answer, is_whole = await _answered(
                connection, f"{head}\r\n\r\n", body, limit
            )
        except BaseException:
            connection.close()
            raise
        if is_whole:
            connection.release()
        else:
            connection.close()
        return answer

    async def close(self) -> None:
        """Close every connection."""
        await self._connector.close()

    async def _connected(self) -> Connection:
        try:
            return await self._connector.connect(self._where, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error


def _lines(first: str, headers: Mapping[str, str]) -> str:
    """Return the lines of a head. Raises ValueError for a value that is two."""
    lines = [first, *[f"{name}: {value}" for name, value in headers.items()]]
    text = "\r\n".join(lines)
    breaks = len(headers) + first.count("\n")
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("wanted headers of one line each, found a line break in one")
    return text


async def _answered(
    connection: Connection, head: str, body: bytes, limit: Limit
) -> tuple[Answer, bool]:
    """Send, and return the answer and whether all of it was read."""
    protocol = connection.protocol
    transport = connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(
        read_until_eof=True, auto_decompress=False, read_bufsize=_WINDOW
    )
    transport.write(head.encode("latin-1", "replace") + body)
    for _ in range(MOST_HINTS):
        try:
            message, content = await protocol.read()
        except HttpProcessingError as error:
            raise NotHttp(error.message) from error
        if message.code >= 200:
            break
    else:
        raise NotHttp("hints without end")
    limit.lift()
    words = await _beginning(content)
    is_whole = content.at_eof()
    if 200 <= message.code < 300 and not words:  # as most answers are
        return Answer(status=message.code), is_whole
    said = message.headers
    answer = Answer(
        status=message.code,
        phrase=message.reason or "",
        retry_after=said.get("retry-after"),
        location=said.get("location"),
        words=b"" if "content-encoding" in said else words,
    )
    return answer, is_whole


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """Return the beginning of a body. Its end matters only to keep the connection.

    A body that drips, never ends or breaks changes nothing: the status has been said.
    """
    if content.at_eof():
        return b""
    read = bytearray()
    try:
        async with asyncio.timeout(LINGER):
            while len(read) < MOST_READ:
                chunk = await content.read(MOST_READ - len(read))
                if not chunk:
                    break
                read += chunk
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    return bytes(read)
