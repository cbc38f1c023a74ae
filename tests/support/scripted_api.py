"""A real HTTP server on loopback that answers as a test says: one oddity at a time.

It knows nothing of fine-tuning. A path's replies are given in order, the last one again
and again; every request is kept.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tunewatch.sources.contract import Call, SourceContext
from tunewatch.sources.http import shared_http
from tunewatch.sources.openai import OpenAISettings
from tunewatch.sources.openai.client import OpenAISource
from tunewatch.sources.openai.surface import Surface

KEY = "sk-test-7Qm2vX9bLr4TzK8wNc1D"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer, and how it misbehaves."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: float | None = None  #: seconds between single bytes
    endless: bool = False  #: the body again and again, without end
    cut: bool = False  #: promises more than the body, then closes
    hang: bool = False  #: says nothing at all
    drop: bool = False  #: closes the connection instead of an answer


def answer(value: object, **reply: Any) -> Reply:
    """Return a reply with a JSON body."""
    headers = {"content-type": "application/json", **reply.pop("headers", {})}
    return Reply(body=json.dumps(value).encode(), headers=headers, **reply)


def listing(*items: object, **fields: object) -> Reply:
    """Return a list answer; `has_more` is False unless it is given."""
    return answer({"object": "list", "data": list(items), "has_more": False, **fields})


def job(job_id: str = "ftjob-1", **fields: object) -> dict[str, object]:
    """Return a job as the API sends it."""
    return {
        "object": "fine_tuning.job",
        "id": job_id,
        "status": "running",
        "created_at": 1723205158,
        "model": "gpt-4o-mini-2024-07-18",
        "error": {},
        **fields,
    }


@dataclass(slots=True)
class ScriptedAPI:
    """The server's script and what it has seen."""

    base_url: str
    root: str = "/v1"  #: what every path begins with
    requests: list[web.BaseRequest] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _script: dict[str, list[Reply]] = field(default_factory=dict)

    def says(self, path: str, *replies: Reply) -> None:
        """Set the replies of a path below the base URL."""
        self._script[f"{self.root}{path}"] = list(replies)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer by the script."""
        self.requests.append(request)
        self.arrived.set()
        replies = self._script.get(request.path)
        if not replies:
            return web.json_response({"error": {"message": "no such path"}}, status=404)
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        try:
            return await _misbehave(request, reply)
        except (ConnectionError, asyncio.CancelledError):
            self.gone.set()
            raise


async def _misbehave(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    if reply.hang:
        await asyncio.Event().wait()
    if reply.drop:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    if not reply.endless:
        response.content_length = len(reply.body) + (1000 if reply.cut else 0)
    await response.prepare(request)
    pieces = [reply.body]
    if reply.drip is not None:
        pieces = [bytes([byte]) for byte in reply.body]
    while True:
        for piece in pieces:
            await response.write(piece)
            if reply.drip is not None:
                await asyncio.sleep(reply.drip)
        if not reply.endless:
            break
    if reply.cut:
        assert request.transport is not None
        request.transport.close()
    return response


@asynccontextmanager
async def scripted_api(
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    root: str = "/v1",
) -> AsyncIterator[ScriptedAPI]:
    """Open a scripted API on a free port of loopback."""
    api = ScriptedAPI("", root=root)
    runner = web.ServerRunner(
        web.Server(api.handle, handler_cancellation=True), shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        api.base_url = f"{'http' if tls is None else 'https'}://{host}:{port}{root}"
        yield api
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class Watched:
    """A source that is open, and what it told of its requests."""

    source: Surface
    calls: list[Call]


@asynccontextmanager
async def source_at(
    base_url: str,
    *,
    key: Any = lambda: KEY,
    http: object = None,
    timeout: float = 10.0,
    now: Any = None,
    **settings: Any,
) -> AsyncIterator[Watched]:
    """Open a source on an address."""
    calls: list[Call] = []

    def made(client: object) -> Watched:
        context = SourceContext(
            name="research", secret=key, observe=calls.append, http=client
        )
        clock = {} if now is None else {"now": now}
        source = OpenAISource(
            OpenAISettings(base_url=base_url, **settings),
            context,
            timeout=timeout,
            **clock,
        )
        return Watched(source, calls)

    if http is not None:
        yield made(http)
        return
    async with shared_http() as client:
        yield made(client)
