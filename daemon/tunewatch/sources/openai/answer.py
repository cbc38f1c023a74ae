"""An answer whose body has not been read, whichever way it was asked for.

Knows no request, and not what an answer means.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp
import httpx2

from tunewatch.sources.clipped import ERROR_BODY, Clipped

_PIECE = 16 * 1024
"""Packed bytes that are unpacked at once: they may become a thousand times as many."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers, and the body as it comes, unpacked."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]

    @classmethod
    def of(cls, response: httpx2.Response) -> Answer:
        """Return the answer of the client."""
        return cls(response.status_code, response.headers, response.aiter_bytes())

    @classmethod
    def beneath(cls, answer: aiohttp.ClientResponse) -> Answer:
        """Return an answer that did not come through the client."""
        if "content-encoding" in answer.headers:
            # As the client unpacks it: what it can is what it says it takes.
            return cls.of(_response(answer, _Body(answer)))
        return cls(answer.status, answer.headers, answer.content.iter_any())


def error_beneath(answer: aiohttp.ClientResponse) -> httpx2.Response:
    """Return an answer that is an error as the client's, its body clipped as there."""
    return _response(answer, Clipped(_Body(answer), ERROR_BODY))


class _Body(httpx2.AsyncByteStream):
    """A body beneath the client, as the client reads bodies."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._answer.content.iter_chunked(_PIECE):
            yield piece


def _response(
    answer: aiohttp.ClientResponse, stream: httpx2.AsyncByteStream
) -> httpx2.Response:
    return httpx2.Response(
        answer.status,
        headers=answer.raw_headers,
        stream=stream,
        # Without its headers: nobody needs a key in an error.
        request=httpx2.Request(answer.method, str(answer.url)),
    )
