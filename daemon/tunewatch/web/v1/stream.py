"""Events as they are committed, as server-sent events.

A reader that comes back with the id it was given last gets everything behind it. Ids
bear the position: an id that is not what stands there is answered by `event: reset`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog
from aiohttp import web

from tunewatch.api import cursors
from tunewatch.api.asked import StreamAsked
from tunewatch.api.faults import Mistaken, NotThere
from tunewatch.api.stored import Stored
from tunewatch.api.stored_events import wanted_types
from tunewatch.store.records import StoreFault
from tunewatch.store.told import Spot
from tunewatch.web.problems import problem
from tunewatch.web.v1.answering import as_problem
from tunewatch.web.v1.conditional import takes
from tunewatch.web.v1.parameters import parameters
from tunewatch.web.v1.tail import Follower, Tail, Told

CONTENT_TYPE = "text/event-stream"
HEARTBEAT = 15.0
"""s without an event after which the reader is told that all is well."""
SLOW = 20.0
"""s that a reader may take to read what it was sent."""
MOST = 64
"""Readers at once."""
PIECE = 64 * 1024
"""Bytes sent at once, at least, while there are more."""
BACK_IN = 2
"""s after which a reader that lost its connection should come back."""

_log = structlog.get_logger(__name__)

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # proxies that buffer would hold events back
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Lets readers follow the log."""

    heartbeat: float = HEARTBEAT
    slow: float = SLOW
    most: int = MOST

    async def respond(
        self, request: web.Request, reading: Stored, tail: Tail
    ) -> web.StreamResponse:
        """Send events until the reader goes or has to go, or the server stops."""
        if not takes(request, CONTENT_TYPE):
            return problem(
                406, f"wanted to answer {CONTENT_TYPE}, which Accept refuses"
            )
        try:
            asked = parameters(StreamAsked, request.query.items())
            wants = _chosen(asked)
        except Mistaken as fault:
            return as_problem(fault)
        if tail.followers >= self.most:
            return problem(
                503,
                f"wanted at most {self.most} readers of the stream; found as many",
                headers={"Retry-After": "10"},
            )
        with tail as follower:
            return await self._respond(request, asked, wants, reading, follower)

    async def _respond(
        self,
        request: web.Request,
        asked: StreamAsked,
        wants: Callable[[Told], bool],
        reading: Stored,
        follower: Follower,
    ) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID") or asked.after
        try:
            start = await _start(reading, last)
        except StoreFault as fault:
            return problem(503, fault.reason, headers={"Retry-After": f"{BACK_IN}"})
        response = web.StreamResponse(headers=_HEADERS)
        response.content_type, response.charset = CONTENT_TYPE, "utf-8"
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            await self._follow(_Reader(response, self.slow), start, wants, follower)
        except TimeoutError:
            _log.info("stream.slow_reader", remote=request.remote)
            if request.transport is not None:
                request.transport.abort()
        except StoreFault as fault:
            _log.info("stream.ended", reason=fault.reason)  # the reader comes back
        return response

    async def _follow(
        self,
        reader: _Reader,
        start: _Start,
        wants: Callable[[Told], bool],
        follower: Follower,
    ) -> None:
        await reader.send(f"retry: {BACK_IN * 1000}\n{start.text}".encode())
        position, cursor, told = start.position, start.cursor, start.cursor
        loop = asyncio.get_running_loop()
        quiet_until = loop.time() + self.heartbeat
        while not follower.has_to_go:
            found = await follower.after(position)
            for one in found:
                position, cursor = (
                    one.position,
                    cursors.of_spot(Spot(one.position, one.id)),
                )
                if wants(one):
                    await reader.add(_event(cursor, one.body))
                    told, quiet_until = cursor, loop.time() + self.heartbeat
            await reader.flush()
            if loop.time() >= quiet_until:
                # With the place reached, so that coming back does not begin far behind.
                moved = f"id: {cursor}\n" if cursor != told else ""
                await reader.send(f": all is well\n{moved}\n".encode())
                told, quiet_until = cursor, loop.time() + self.heartbeat
            if not found:
                await _growth(follower, position, quiet_until)


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a reader begins, and what it is told first."""

    position: int
    cursor: str
    text: str


class _Reader:
    """One reader's connection. Raises TimeoutError if it reads too slowly."""

    def __init__(self, response: web.StreamResponse, slow: float) -> None:
        self._response = response
        self._slow = slow
        self._pieces: list[bytes] = []
        self._size = 0

    async def add(self, piece: bytes) -> None:
        """Send a piece together with others."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= PIECE:
            await self.flush()

    async def flush(self) -> None:
        """Send what was added."""
        if self._pieces:
            together = b"".join(self._pieces)
            self._pieces, self._size = [], 0
            await self.send(together)

    async def send(self, what: bytes) -> None:
        """Send at once."""
        async with asyncio.timeout(self._slow):
            await self._response.write(what)


def _chosen(asked: StreamAsked) -> Callable[[Told], bool]:
    """Return the question whether a reader wants an event. Raises Mistaken."""
    is_type = wanted_types(asked.type)
    return lambda told: (
        (is_type is None or is_type(told.type))
        and (asked.source is None or told.source == asked.source)
        and (asked.job is None or told.owner == asked.job)
    )


async def _start(reading: Stored, last: str | None) -> _Start:
    """Return where to begin: behind the last event the reader had, else now."""
    if last is not None:
        try:
            position = await reading.position(last)
        except NotThere as fault:
            why = msgspec.json.encode({"reason": fault.reason})
            return await _now(reading, f"event: reset\ndata: {why.decode()}\n")
        return _Start(position, last, "\n")
    return await _now(reading, "")


async def _now(reading: Stored, first: str) -> _Start:
    spot = await reading.reads.newest_spot()
    cursor = "0" if spot is None else cursors.of_spot(spot)
    position = 0 if spot is None else spot.position
    return _Start(position, cursor, f"{first}id: {cursor}\n\n")


def _event(cursor: str, body: bytes) -> bytes:
    # One line: JSON as we write it has no line break in it.
    return b"id: %b\ndata: %b\n\n" % (cursor.encode(), body)


async def _growth(follower: Follower, position: int, until: float) -> None:
    try:
        async with asyncio.timeout_at(until):
            await follower.growth(position)
    except TimeoutError:
        pass
