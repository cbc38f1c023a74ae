"""One POST after another over kept connections, and nothing a receiver can abuse.

Follows no redirect, uses no proxy, keeps no cookie, reads a bounded piece of the answer
and ends by a deadline. Does not know what an answer means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from tunewatch.deadline import Deadline
from tunewatch_plugins.secrets import Parsed
from tunewatch_plugins.tls import Tls
from tunewatch_plugins.webhook.allowed import AllowList, Guard
from tunewatch_plugins.webhook.answers import Answer
from tunewatch_plugins.webhook.exchange import Exchange
from tunewatch_plugins.webhook.target import Target

CONNECT = 5.0  #: s, until a connection stands, TLS included
SHARE = 2 / 3
"""Of a delivery's time, until an answer has begun, resends included: what is left is
for reading it, so that we say what happened before we are cut off."""
MOST_RESENDS = 3  #: over connections that were dropped while they lay idle


@dataclass(slots=True)
class Line:
    """The connections towards one receiver."""

    target: Target
    tls: Tls
    guard: Guard
    exchange: Exchange
    deadline: Deadline  #: until an answer has begun, resends included
    users: int = 0  #: deliveries that are under way

    async def post(
        self, headers: Callable[[], Mapping[str, str]], body: bytes
    ) -> Answer:
        """Return the answer to one POST; `headers` are made anew for every request.

        A connection that the receiver dropped while it lay idle is no failure of its
        own: the request goes out once more, until a new connection has failed.
        Raises aiohttp.ClientError, OSError or TimeoutError.
        """
        resends = 0
        with self.deadline.begin() as limit:
            while True:
                dialled = self.guard.dialled
                try:
                    return await self.exchange.post(headers(), body, limit)
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


@dataclass(slots=True, kw_only=True)
class Lines:
    """The line to the current receiver, and those to earlier ones until they are idle.

    A URL in a file may change at any time, and so may a certificate; whatever is under
    way ends where it began.
    """

    allowed: AllowList
    agent: str  #: User-Agent
    timeout: float  #: s, that a delivery may take
    connections: Parsed[Tls]
    _current: Line | None = None
    _open: list[Line] = field(default_factory=list)

    async def post(
        self, target: Target, headers: Callable[[], Mapping[str, str]], body: bytes
    ) -> Answer:
        """Return the answer of this receiver, see `Line.post`."""
        line, tls = self._current, self.connections.current()
        if line is None or line.target is not target or line.tls is not tls:
            line = await self._change_to(target, tls)
        line.users += 1
        try:
            return await line.post(headers, body)
        finally:
            line.users -= 1
            if line is not self._current:
                await self._close_idle()

    @property
    def longest(self) -> float:
        """Return the seconds until an answer must have begun."""
        return self.timeout * SHARE

    async def close(self) -> None:
        """Close every connection."""
        self._current = None
        while self._open:
            await self._open.pop().exchange.close()

    async def _change_to(self, target: Target, tls: Tls) -> Line:
        guard = target.guard(self.allowed)
        exchange = self._exchange(target, guard, tls)
        line = Line(target, tls, guard, exchange, Deadline(self.longest))
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
            await line.exchange.close()

    def _exchange(self, target: Target, guard: Guard, tls: Tls) -> Exchange:
        return Exchange(
            target.url,
            aiohttp.TCPConnector(
                limit=0,  # as many as there are deliveries at once, which others bound
                socket_factory=guard,
                ssl=tls.context,
            ),
            headers={
                "user-agent": self.agent,
                "accept": "*/*",
                "accept-encoding": "identity",
            },
            connect=CONNECT,
        )
