"""The HTTP server in front of a simulated API.

Knows connections, headers, keys and limits; what an endpoint answers is `endpoints`'
business. It listens on loopback only.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from ipaddress import ip_address
from typing import TYPE_CHECKING

from aiohttp import web

from tunewatch.testing.administration import ROOT, Administration
from tunewatch.testing.answers import Answer, Problem
from tunewatch.testing.delivery import deliver
from tunewatch.testing.doors import Shown, door_of, request_number
from tunewatch.testing.endpoints import Asked, Endpoints
from tunewatch.testing.faults import Fault
from tunewatch.testing.projects import Project
from tunewatch.testing.requests import Request

if TYPE_CHECKING:
    # The simulated API opens the server; the server looks back at its state.
    from tunewatch.testing.api import SimulatedApi

_NOTED = ("user-agent", "openai-organization", "openai-project")
_ANNOUNCED = 10_000  # requests per minute that headers speak of where none is limited


@asynccontextmanager
async def serving(api: SimulatedApi, *, host: str, port: int) -> AsyncIterator[str]:
    """Serve an API while open and give its origin. Raises ValueError off loopback."""
    if host != "localhost" and not ip_address(host).is_loopback:
        raise ValueError(f"host: wanted a loopback address, found {host!r}")
    server = web.Server(Front(api).handle, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
        bound = runner.addresses[0]
        name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        yield f"http://{name}:{bound[1]}"
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class _Allowance:
    """What a key may still ask: a bucket that fills evenly over a minute."""

    left: float
    at: float

    def take(self, per_minute: int, now: float) -> float:
        """Take one request and return 0, or how many seconds to wait for one."""
        filled = self.left + (now - self.at) * per_minute / 60
        self.left, self.at = min(float(per_minute), filled), now
        if self.left < 1:
            return (1 - self.left) * 60 / per_minute
        self.left -= 1
        return 0.0


@dataclass
class Front:
    """One server: it reads requests, notes them, and sends answers."""

    api: SimulatedApi
    _allowances: dict[str, _Allowance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._endpoints = Endpoints(self.api)
        self._administration = Administration(self.api)
        self._door = door_of(self.api.dialect)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        began = time.monotonic()
        noted = self._note(request)
        body = await request.read()
        fault = next(
            filter(
                None, (rule.strike(noted.line, noted.key) for rule in self.api.rules)
            ),
            None,
        )
        try:
            answer = self._answer(noted, body, fault)
        except Problem as problem:
            answer = self._door.worded(problem.answer)
        if fault is not None and fault.alter is not None:
            answer = fault.alter(answer)
        noted.status = answer.status
        headers = self._headers(noted, time.monotonic() - began)
        return await deliver(request, answer, fault, headers)

    def _note(self, request: web.BaseRequest) -> Request:
        shown = self._door.shown(request.headers)
        noted = Request(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            line=f"{request.method} {request.path_qs}",
            key=shown.key,
            scheme=shown.scheme,
            at=time.monotonic(),
            simulated=self.api.clock.now(),
            headers={
                name: request.headers[name]
                for name in _NOTED
                if name in request.headers
            },
        )
        self.api.requests.add(noted)
        return noted

    def _answer(self, noted: Request, body: bytes, fault: Fault | None) -> Answer:
        if fault is not None and fault.answer is not None:
            return fault.answer
        path = self._door.inner(noted.path, noted.query)
        if path[:1] == (ROOT,):
            query = _heeded(noted.query, fault)
            return self._administration.answer(noted.method, path, query, noted.key)
        project = self._admitted(noted)
        for arrive in self.api.before_each:
            arrive(noted.simulated)
        asked = Asked(
            project=project,
            method=noted.method,
            path=path,
            query=_heeded(noted.query, fault),
            body=body,
            now=noted.simulated,
            ascending=fault is not None and fault.ascending,
        )
        return self._endpoints.answer(asked)

    def _admitted(self, noted: Request) -> Project:
        """Return the project a key opens. Raises Problem (401, 429)."""
        key, shown = noted.key, Shown(noted.key, noted.scheme)
        project = self._door.opened(shown, noted.path, self.api.projects)
        wait = self._allowance(key).take(self._per_minute, time.monotonic())
        if wait and self.api.requests_per_minute is not None:
            after = {"Retry-After": str(int(wait) + 1)}
            raise Problem(429, "Rate limit reached for requests.", headers=after)
        return project

    @property
    def _per_minute(self) -> int:
        return self.api.requests_per_minute or _ANNOUNCED

    def _allowance(self, key: str) -> _Allowance:
        full = _Allowance(float(self._per_minute), time.monotonic())
        return self._allowances.setdefault(key, full)

    def _headers(self, noted: Request, seconds: float) -> dict[str, str]:
        left = self._allowance(noted.key).left if noted.key else 0.0
        missing = max(0.0, self._per_minute - left)
        number = self.api.requests.total
        return {
            "Date": formatdate(time.time() + self.api.date_offset, usegmt=True),
            "Server": "tunewatch-simulated",
            **self._door.headers(request_number(self.api.seed, number)),
            "openai-processing-ms": str(int(seconds * 1000)),
            "x-ratelimit-limit-requests": str(self._per_minute),
            "x-ratelimit-remaining-requests": str(int(left)),
            "x-ratelimit-reset-requests": f"{missing * 60 / self._per_minute:.3f}s",
        }


def _heeded(query: Mapping[str, str], fault: Fault | None) -> dict[str, str]:
    """Return what of a query is heeded."""
    is_first = fault is not None and fault.first_page
    return {k: v for k, v in query.items() if not (is_first and k == "after")}
