"""The route of inbound webhooks: reads a bounded request, hands it on, says what came.

What proves a webhook, and what is done about it, is decided behind `Hooks`: no header
of any provider is known here. Answers tell nothing that could help to forge one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Protocol

from aiohttp import web

from tunewatch.web.problems import problem

PATH = "/hooks/{kind}/{source}"
LARGEST = 64 * 1024
"""Bytes of a body; a provider's webhook has some hundred."""
SLOWEST = 10.0
"""s for a body to arrive."""
RETRY_AFTER = "5"
"""s after which a provider may try again while the store is away."""


class Heard(Enum):
    """What became of a webhook."""

    TAKEN = "taken"  #: verified; whether it was of use is nobody's business
    REFUSED = "refused"  #: nothing proves who sent it
    UNREADABLE = "unreadable"  #: verified, and not what the provider promises
    NOT_NOW = "not now"  #: verified, and the daemon cannot act on it yet


class Hooks(Protocol):
    """Who takes webhooks."""

    def takes(self, kind: str, source: str) -> bool:
        """Whether webhooks of this kind are taken for a source of this name."""
        ...

    async def hear(
        self, kind: str, source: str, headers: Mapping[str, str], body: bytes
    ) -> Heard:
        """Take a request in. Names of headers are in lower case."""
        ...

    def unread(self, kind: str, source: str) -> None:
        """Count a request that was too large, too slow, or compressed."""
        ...


def hook_handler(
    hooks: Hooks, *, slowest: float = SLOWEST
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return what answers `PATH`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        kind, source = request.match_info["kind"], request.match_info["source"]
        # One answer for a source that is not there and for one without a secret.
        if not hooks.takes(kind, source):
            raise web.HTTPNotFound
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        body = await _body(request, slowest)
        if isinstance(body, web.Response):
            hooks.unread(kind, source)
            return body
        headers = {name.lower(): value for name, value in request.headers.items()}
        return _answer(await hooks.hear(kind, source, headers, body))

    return handle


async def _body(request: web.Request, slowest: float) -> bytes | web.Response:
    """Return the body as it came, or the answer to one that is not read to its end."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        return _closing(415, "wanted a body that is not compressed")
    if (request.content_length or 0) > LARGEST:
        return _closing(413, f"wanted a body of at most {LARGEST} bytes")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(slowest):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > LARGEST:
                    return _closing(413, f"wanted a body of at most {LARGEST} bytes")
                chunks.append(chunk)
    except TimeoutError:
        return _closing(408, f"wanted the whole body within {slowest:g} s")
    return b"".join(chunks)


def _closing(status: int, detail: str) -> web.Response:
    """Return a problem after which the connection is of no more use."""
    answer = problem(status, detail)
    answer.force_close()
    return answer


def _answer(heard: Heard) -> web.Response:
    match heard:
        case Heard.TAKEN:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        case Heard.REFUSED:
            return problem(
                401,
                "wanted a webhook that the provider signed for this source within the "
                "last 5 minutes",
            )
        case Heard.UNREADABLE:
            return problem(400, "the signature is right, but this is no event")
        case Heard.NOT_NOW:
            again = {"Retry-After": RETRY_AFTER}
            return problem(503, "not at this moment; send it again", headers=again)
