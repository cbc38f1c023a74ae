"""One POST after another over kept connections, and nothing a receiver can abuse.

Follows no redirect, uses no proxy, keeps no cookie, reads a bounded piece of the answer
and ends by a deadline. Does not know what an answer means.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tunewatch_plugins.webhook.allowed import AllowList, Guard
from tunewatch_plugins.webhook.answers import Answer
from tunewatch_plugins.webhook.target import Target

CONNECT = 5.0  #: s, until a connection stands, TLS included
SHARE = 2 / 3
"""Of a delivery's time, until an answer's headers have come, resends included: what is
left is for reading the answer, so that we say what happened before we are cut off."""
LINGER = 0.75  #: s, for the rest of an answer that already says what counts
MOST_RESENDS = 3  #: over connections that were dropped while they lay idle
MOST_READ = 64 * 1024  #: bytes of an answer's body


@dataclass(slots=True)
class Line:
    """The connections towards one receiver."""

    target: Target
    guard: Guard
    session: aiohttp.ClientSession
    longest: float  #: s, until an answer's headers have come, resends included
    users: int = 0  #: deliveries that are under way

    async def post(
        self, headers: Callable[[], Mapping[str, str]], body: bytes
    ) -> Answer:
        """Return the answer to one POST; `headers` are made anew for every request.

        A connection that the receiver dropped while it lay idle is no failure of its
        own: the request goes out once more, until a new connection has failed.
        Raises aiohttp.ClientError, OSError or TimeoutError.
        """
        async with asyncio.timeout(self.longest):
            response = await self._sent(headers, body)
        try:
            return await _answer(response)
        finally:
            # Whole answers have given their connection back; of others it is closed.
            response.close()

    async def _sent(
        self, headers: Callable[[], Mapping[str, str]], body: bytes
    ) -> aiohttp.ClientResponse:
        resends = 0
        while True:
            dialled = self.guard.dialled
            try:
                return await self.session.post(
                    self.target.url, data=body, headers=headers(), allow_redirects=False
                )
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if resends == MOST_RESENDS or not self._was_kept(dialled):
                    raise
            resends += 1

    def _was_kept(self, dialled: int) -> bool:
        """Whether a request may have gone out on a connection that lay idle before.

        It must have if nobody dialled meanwhile, and cannot have if only it could.
        """
        return self.guard.dialled == dialled or self.users > 1


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    words = await _beginning(response.content)
    if 200 <= response.status < 300:  # nothing else is asked of most answers
        return Answer(status=response.status)
    headers = response.headers
    return Answer(
        status=response.status,
        phrase=response.reason or "",
        retry_after=headers.get("retry-after"),
        location=headers.get("location"),
        words=b"" if "content-encoding" in headers else words,
    )


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """Return the beginning of a body. Its end matters only to keep the connection.

    A body that drips, never ends or breaks changes nothing: the status has been said.
    """
    if content.at_eof():
        return b""
    read = bytearray()
    try:
        async with asyncio.timeout(LINGER):
            while len(read) < MOST_READ:
                chunk = await content.read(MOST_READ - len(read))
                if not chunk:
                    break
                read += chunk
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    return bytes(read)


@dataclass(slots=True, kw_only=True)
class Lines:
    """The line to the current receiver, and those to earlier ones until they are idle.

    A URL in a file may change at any time; whatever is under way ends where it began.
    """

    allowed: AllowList
    agent: str  #: User-Agent
    timeout: float  #: s, that a delivery may take
    ca_file: Path | None = None
    _current: Line | None = None
    _open: list[Line] = field(default_factory=list)

    async def post(
        self, target: Target, headers: Callable[[], Mapping[str, str]], body: bytes
    ) -> Answer:
        """Return the answer of this receiver, see `Line.post`."""
        line = self._current
        if line is None or line.target is not target:
            line = await self._change_to(target)
        line.users += 1
        try:
            return await line.post(headers, body)
        finally:
            line.users -= 1
            if line is not self._current:
                await self._close_idle()

    @property
    def longest(self) -> float:
        """Return the seconds until an answer's headers must have come."""
        return self.timeout * SHARE

    async def close(self) -> None:
        """Close every connection."""
        self._current = None
        while self._open:
            await self._open.pop().session.close()

    async def _change_to(self, target: Target) -> Line:
        guard = target.guard(self.allowed)
        line = Line(target, guard, self._session(guard), self.longest)
        self._open.append(line)
        self._current = line
        # Others may be lent the new line meanwhile; this one is held by its user.
        line.users += 1
        try:
            await self._close_idle()
        finally:
            line.users -= 1
        return line

    async def _close_idle(self) -> None:
        idle = [
            line for line in self._open if line is not self._current and not line.users
        ]
        for line in idle:
            self._open.remove(line)
        for line in idle:
            await line.session.close()

    def _session(self, guard: Guard) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # as many as there are deliveries at once, which others bound
                socket_factory=guard,
                ssl=_trust(self.ca_file),
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
            headers={
                "user-agent": self.agent,
                "accept-encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=16 * 1024,
        )


def _trust(ca_file: Path | None) -> ssl.SSLContext | bool:
    return True if ca_file is None else trust(ca_file)


def trust(ca_file: Path) -> ssl.SSLContext:
    """Return TLS settings that trust these authorities and no others.

    Raises OSError, of which ssl.SSLError is one, if the file will not do.
    """
    return ssl.create_default_context(cafile=ca_file)
