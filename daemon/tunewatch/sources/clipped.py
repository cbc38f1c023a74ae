"""Error answers that end early: nobody needs more of them than a reason.

Bytes only: knows no provider and no meaning.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

ERROR_BODY = 64 * 1024
"""Bytes read of an answer that is an error: more than any reason is long."""


class Clipped(httpx2.AsyncByteStream):
    """A stream that ends after `limit` bytes, whatever there is to come."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit
        async for chunk in self._stream:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    async def aclose(self) -> None:
        """Close the stream underneath; unread bytes close the connection with it."""
        await self._stream.aclose()


async def clip_error(response: httpx2.Response) -> None:
    """Clip the body of an answer that is not a success: a response hook."""
    stream = response.stream
    if not response.is_success and isinstance(stream, httpx2.AsyncByteStream):
        response.stream = Clipped(stream, ERROR_BODY)
