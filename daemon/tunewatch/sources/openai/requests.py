"""GET requests over a client of the SDK: signed by it, and sent as it would send them.

What the client makes of a request, beside its address, depends on the credential alone,
and costs it several times as much as all else on the way. So it makes and sends the
first one with each credential, and those that follow go out as that one went, by the
aiohttp session beneath it. Knows no endpoint and no shape of an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream

from tunewatch.sources.beneath import Beneath
from tunewatch.sources.contract import Unreadable
from tunewatch.sources.openai.answer import Answer, error_beneath
from tunewatch.sources.openai.credential import Credential
from tunewatch.sources.openai.lenient import mapping, read_patiently

Query = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class _Signed:
    """A request of the client, as the pattern of those that follow."""

    credential: str
    headers: Mapping[str, str]
    beneath: Beneath


class Requests:
    """The requests of one client, each with its credential as it is at that moment.

    The client is to be given `credential.asked`, so that one look-up serves both.
    """

    def __init__(
        self, client: AsyncOpenAI, http: httpx2.AsyncClient, credential: Credential
    ) -> None:
        self._client = client
        self._http = http
        self._credential = credential
        self._base = str(client.base_url).rstrip("/")
        self._signed: _Signed | None = None

    @asynccontextmanager
    async def get(
        self, path: str, query: Query, *, accept: str | None = None
    ) -> AsyncIterator[Answer]:
        """Send a request; lend the answer, whose body is not read yet.

        `accept` is for what is no JSON. Raises `faults.FOREIGN`, TimeoutError, OSError,
        and what the look-up of the credential raises.
        """
        credential, signed = await self._credential(), self._signed
        if accept is not None:
            async with self._by_client(path, query, {"Accept": accept}) as response:
                yield Answer.of(response)
        elif signed and signed.credential == credential:
            address = self._address(path, query)
            async with signed.beneath.get(address, signed.headers) as answer:
                if not 200 <= answer.status < 300:
                    self._signed = None  # let the client sign anew
                    raise await _refusal(answer)
                yield Answer.beneath(answer)
        else:
            async with self._by_client(path, query, {}) as response:
                self._keep(response, credential, path, query)
                yield Answer.of(response)

    @asynccontextmanager
    async def _by_client(
        self, path: str, query: Query, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx2.Response]:
        answer: object = await self._client.get(
            path,
            cast_to=httpx2.Response,
            options={"params": dict(query), "headers": headers},
            stream=True,
            stream_cls=AsyncStream[Any],
        )
        # Asked for the raw response, the client hands it out whatever the stream is.
        response = cast("httpx2.Response", answer)
        try:
            yield response
        finally:
            await response.aclose()

    def _keep(
        self, response: httpx2.Response, credential: str, path: str, query: Query
    ) -> None:
        """Keep an answered request as the pattern, if others can be made after it.

        They can if the client asks where we would, and was not given another credential
        in between.
        """
        sent, last = response.request, self._credential.last
        if last != credential or str(sent.url) != self._address(path, query):
            return
        if beneath := Beneath.of(self._http, sent.url):
            self._signed = _Signed(credential, dict(sent.headers), beneath)

    def _address(self, path: str, query: Query) -> str:
        asked = urlencode({**self._client.default_query, **query})
        return f"{self._base}{path}?{asked}" if asked else f"{self._base}{path}"


async def _refusal(answer: aiohttp.ClientResponse) -> openai.APIStatusError:
    """Return what the client raises, too, with what it finds in the body."""
    response = error_beneath(answer)
    said = _error_in(await response.aread())
    return openai.APIStatusError("", response=response, body=said)


def _error_in(body: bytes) -> object:
    """Return the error that a body tells of, None if it is no JSON."""
    try:
        said = read_patiently(body)
    except Unreadable:
        return None
    return (mapping(said) or {}).get("error", said)
