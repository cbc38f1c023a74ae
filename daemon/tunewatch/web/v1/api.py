"""The paths of the operator API, and the way from each to its answer.

Answers from the first moment on: until there is a store, that it is not open yet.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from tunewatch.api.acting import Acting
from tunewatch.api.asked import Nothing
from tunewatch.api.operations import (
    ACTIONS,
    OPERATIONS,
    ROOT,
    SPECIAL,
    Action,
    Operation,
)
from tunewatch.api.stored import Stored
from tunewatch.web.problems import problem
from tunewatch.web.v1.answering import Answering, tagged
from tunewatch.web.v1.openapi import document
from tunewatch.web.v1.parameters import parameters
from tunewatch.web.v1.stream import Stream
from tunewatch.web.v1.tail import Tail

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
READING = ("GET", "HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """What there is once the store is open."""

    reading: Stored
    acting: Acting
    tail: Tail


class Api:
    """The operator API of one process."""

    def __init__(
        self, *, answering: Answering | None = None, stream: Stream | None = None
    ) -> None:
        self.backing: Backing | None = None
        self._answering = answering or Answering()
        self._stream = stream or Stream()

    def attach(self, app: web.Application) -> None:
        """Add the paths to a server."""
        special = {one.name: ROOT + one.path for one in SPECIAL}
        self._route(app, special["stream"], {"GET": self._follow})
        self._route(app, special["event"], {"GET": self._event})
        self._route(app, special["openapi"], {"GET": self._document})
        for one in OPERATIONS:
            self._route(app, ROOT + one.path, {"GET": self._answer(one)})
        for action in ACTIONS:
            self._route(app, ROOT + action.path, {"POST": self._act(action)})
        app.on_shutdown.append(self._end)

    def dismiss(self) -> None:
        """Let those go who follow the stream now."""
        if self.backing is not None:
            self.backing.tail.dismiss()

    def _route(
        self, app: web.Application, path: str, handlers: dict[str, Handler]
    ) -> None:
        allowed = [
            *(READING if "GET" in handlers else ()),
            *(handlers.keys() - {"GET"}),
        ]

        async def handle(request: web.Request) -> web.StreamResponse:
            method = "GET" if request.method == "HEAD" else request.method
            if method not in handlers:
                raise web.HTTPMethodNotAllowed(request.method, allowed)
            if self.backing is None:
                return problem(
                    503, "the store is not open yet", headers={"Retry-After": "2"}
                )
            return await handlers[method](request)

        app.router.add_route("*", path, handle)

    def _answer(self, operation: Operation) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            reading = self._open.reading
            return await self._answering(
                request, lambda: self._answering.operation(operation, reading, request)
            )

        return answer

    def _act(self, action: Action) -> Handler:
        async def act(request: web.Request) -> web.StreamResponse:
            acting = self._open.acting
            return await self._answering(
                request, lambda: self._answering.action(action, acting, request)
            )

        return act

    @property
    def _open(self) -> Backing:
        assert self.backing is not None  # noqa: S101 - asked before any handler
        return self.backing

    async def _event(self, request: web.Request) -> web.StreamResponse:
        async def respond() -> web.StreamResponse:
            parameters(Nothing, request.query.items())
            reading = self._open.reading
            return tagged(request, await reading.event(request.match_info["id"]))

        return await self._answering(request, respond)

    async def _document(self, request: web.Request) -> web.StreamResponse:
        async def respond() -> web.StreamResponse:
            parameters(Nothing, request.query.items())
            return tagged(request, msgspec.json.encode(document()))

        return await self._answering(request, respond)

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        return await self._stream.respond(request, self._open.reading, self._open.tail)

    async def _end(self, _app: web.Application) -> None:
        if self.backing is not None:
            self.backing.tail.end()
