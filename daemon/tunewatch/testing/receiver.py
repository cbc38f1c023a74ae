"""A webhook receiver that records what it got and can misbehave.

It verifies Standard Webhooks signatures when given a secret. It knows HTTP and that
scheme, and nothing of jobs.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from aiohttp import web

from tunewatch.testing.delivery import reset
from tunewatch.testing.signatures import signature_problem

_CHUNK = b"x" * 65_536


class Manners(Enum):
    """How a reply goes out."""

    WHOLE = "whole"
    HANG = "hang"  #: never
    DRIP = "drip"  #: one byte of the body every `seconds`
    FLOOD = "flood"  #: a body without end
    CLOSE = "close"  #: the connection is reset instead


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the receiver answers."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    manners: Manners = Manners.WHOLE
    seconds: float = 0.0  #: before the answer, or between dripped bytes

    @classmethod
    def redirect(cls, url: str, status: int = 302) -> Reply:
        """Send the caller elsewhere."""
        return cls(status=status, headers={"Location": url})

    @classmethod
    def hang(cls) -> Reply:
        """Never answer."""
        return cls(manners=Manners.HANG)

    @classmethod
    def drip(cls, seconds: float = 0.05, body: bytes = b"x" * 10_000) -> Reply:
        """Answer a byte at a time."""
        return cls(manners=Manners.DRIP, seconds=seconds, body=body)

    @classmethod
    def flood(cls) -> Reply:
        """Answer a body without end."""
        return cls(manners=Manners.FLOOD)

    @classmethod
    def close(cls) -> Reply:
        """Reset the connection in place of an answer."""
        return cls(manners=Manners.CLOSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]  #: names in lower case
    body: bytes
    at: float  #: monotonic seconds
    problem: str | None  #: why its signature was not accepted
    status: int  #: what it was answered

    @property
    def id(self) -> str:
        """The `webhook-id`, "" if there was none."""
        return self.headers.get("webhook-id", "")

    @property
    def accepted(self) -> bool:
        """Whether it was answered with 2xx."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the body as JSON. Raises ValueError."""
        return json.loads(self.body)


class Receiver:
    """Records webhooks; answers 200 to a good signature, 401 to a bad one.

    `secrets` are `whsec_…` and `whpk_…`, as many as are valid while rotating; none:
    nothing is verified. `now` gives unix seconds. `heard` is told of each request.
    """

    def __init__(
        self,
        *,
        secrets: Sequence[str] = (),
        now: Callable[[], float] = time.time,
        heard: Callable[[Received], None] | None = None,
    ) -> None:
        self.secrets = list(secrets)
        self.received: list[Received] = []
        self.usual = Reply()  #: the answer when no other is planned
        self._now = now
        self._heard = heard
        self._planned: deque[Reply] = deque()
        self._came = asyncio.Event()

    @asynccontextmanager
    async def serve(
        self, *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[str]:
        """Listen on 127.0.0.1 while open and give the URL. Can be served again."""
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(
                runner, "127.0.0.1", port, ssl_context=tls, reuse_address=True
            )
            await site.start()
            scheme = "https" if tls else "http"
            yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/"
        finally:
            await runner.cleanup()

    def plan(self, *replies: Reply, times: int = 1) -> None:
        """Answer the next requests so, in order, the whole row `times` over."""
        self._planned.extend(replies * times)

    @property
    def accepted(self) -> list[Received]:
        """What was answered with 2xx, in order."""
        return [received for received in self.received if received.accepted]

    async def wait_for(self, count: int, *, within: float = 10.0) -> list[Received]:
        """Return what was accepted once it is so many. Raises TimeoutError."""
        return await self.wait_until(lambda got: len(got) >= count, within=within)

    async def wait_until(
        self, enough: Callable[[list[Received]], bool], *, within: float = 10.0
    ) -> list[Received]:
        """Return what was accepted once it is enough. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while not enough(got := self.accepted):
                await self._came.wait()
        return got

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        problem = self._problem(headers, body)
        if problem is not None:
            reply = Reply(status=401, body=problem.encode())
        else:
            reply = self._planned.popleft() if self._planned else self.usual
        never = reply.manners in (Manners.HANG, Manners.CLOSE)
        received = Received(
            method=request.method,
            path=request.path_qs,
            headers=headers,
            body=body,
            at=time.monotonic(),
            problem=problem,
            status=0 if never else reply.status,
        )
        self.received.append(received)
        self._came.set()
        self._came = asyncio.Event()
        if self._heard is not None:
            self._heard(received)
        return await _answer(request, reply)

    def _problem(self, headers: Mapping[str, str], body: bytes) -> str | None:
        if not self.secrets:
            return None
        return signature_problem(headers, body, secrets=self.secrets, now=self._now())


async def _answer(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    headers = dict(reply.headers)
    match reply.manners:
        case Manners.HANG:
            await asyncio.Event().wait()
        case Manners.CLOSE:
            reset(request)
        case Manners.DRIP | Manners.FLOOD:
            return await _pour(request, reply)
        case Manners.WHOLE if reply.seconds:
            await asyncio.sleep(reply.seconds)
        case _:
            pass
    return web.Response(status=reply.status, headers=headers, body=reply.body)


async def _pour(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
    await response.prepare(request)
    if reply.manners is Manners.FLOOD:
        while True:
            await response.write(_CHUNK)
    for byte in reply.body:
        await response.write(bytes((byte,)))
        await asyncio.sleep(reply.seconds)
    await response.write_eof()
    return response
