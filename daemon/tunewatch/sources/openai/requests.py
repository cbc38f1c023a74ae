"""GET requests over a client of the SDK: signed by it, and sent as it would send them.

What the client makes of a request, beside its address, depends on the credential alone,
and costs it as much as all else on the way. So it makes and sends the first one with
each credential, and those that follow go out as that one went. Knows no endpoint and no
shape of an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream

from tunewatch.sources.contract import Unreadable
from tunewatch.sources.openai.credential import Credential
from tunewatch.sources.openai.lenient import mapping, read_patiently

Query = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class _Signed:
    """A request of the client, as the pattern of those that follow."""

    credential: str
    headers: httpx2.Headers
    extensions: Mapping[str, Any]


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
        self._signed: _Signed | None = None

    @asynccontextmanager
    async def get(
        self, path: str, query: Query, *, accept: str | None = None
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request; lend the answer, whose body is not read yet.

        `accept` is for what is no JSON. Raises `faults.FOREIGN`, TimeoutError, OSError,
        and what the look-up of the credential raises.
        """
        credential = await self._credential()
        if accept is not None:
            response = await self._by_client(path, query, {"Accept": accept})
        elif (signed := self._signed) and signed.credential == credential:
            response = await self._likewise(signed, path, query)
        else:
            response = await self._by_client(path, query, {})
            self._keep(response, credential, path, query)
        try:
            yield response
        finally:
            await response.aclose()

    async def _by_client(
        self, path: str, query: Query, headers: Mapping[str, str]
    ) -> httpx2.Response:
        answer: object = await self._client.get(
            path,
            cast_to=httpx2.Response,
            options={"params": dict(query), "headers": headers},
            stream=True,
            stream_cls=AsyncStream[Any],
        )
        # Asked for the raw response, the client hands it out whatever the stream is.
        return cast("httpx2.Response", answer)

    def _keep(
        self, response: httpx2.Response, credential: str, path: str, query: Query
    ) -> None:
        """Keep an answered request as the pattern, if others can be made after it.

        They can if the client asks where we would, and was not given another credential
        in between.
        """
        sent, last = response.request, self._credential.last
        if last == credential and str(sent.url) == self._address(path, query):
            self._signed = _Signed(credential, sent.headers, sent.extensions)

    async def _likewise(
        self, signed: _Signed, path: str, query: Query
    ) -> httpx2.Response:
        request = httpx2.Request(
            "GET",
            self._address(path, query),
            headers=signed.headers,
            extensions=dict(signed.extensions),
        )
        response = await self._http.send(request, stream=True)
        if response.is_success:
            return response
        self._signed = None  # let the client sign anew
        try:
            body = await response.aread()
        finally:
            await response.aclose()
        # What the client raises, too, with what it finds in the body.
        raise openai.APIStatusError("", response=response, body=_error_in(body))

    def _address(self, path: str, query: Query) -> str:
        asked = urlencode({**self._client.default_query, **query})
        base = str(self._client.base_url).rstrip("/")
        return f"{base}{path}?{asked}" if asked else f"{base}{path}"


def _error_in(body: bytes) -> object:
    """Return the error that a body tells of, None if it is no JSON."""
    try:
        said = read_patiently(body)
    except Unreadable:
        return None
    return (mapping(said) or {}).get("error", said)
