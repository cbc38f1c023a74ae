"""The connection to a broker, kept: made again by itself when it is gone.

Says once that the broker is gone, and once that it is back. Who publishes waits for an
attempt made for it, and no longer. Knows how long to wait between attempts, and
neither events nor what is published.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import aiomqtt

from tunewatch_plugins.mqtt.client import CONNECT, Client, Lost, Way
from tunewatch_plugins.mqtt.messages import Message
from tunewatch_plugins.mqtt.troubles import not_connected

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  #: s between attempts, doubling
LEAVE = 2.0  #: s that taking leave may take
STEADY = 10.0
"""s that a connection must have stood for the waits to begin anew: two clients that
throw each other out must not do so in a hot loop."""


class Log(Protocol):
    """Where it is said; structlog's."""

    def info(self, event: str, **fields: object) -> object: ...  # noqa: D102
    def warning(self, event: str, **fields: object) -> object: ...  # noqa: D102
    def exception(self, event: str, **fields: object) -> object: ...  # noqa: D102


@dataclass(slots=True, kw_only=True)
class Link:
    """A connection for as long as `keep` runs; `stop` ends that."""

    way: Callable[[], Way]  #: as the settings say at the moment; raises Lost
    greet: Callable[[Client], Awaitable[None]]  #: after each connecting
    leave: Callable[[Client], Awaitable[None]]  #: before the last goodbye
    log: Log
    terms: int = 0  #: how often there was a connection
    _client: Client | None = None
    _reason: str = "not connected yet"
    _begun: int = 0  #: attempts, of which
    _failed: int = 0  #: the last one that failed
    _is_gone: bool = False  #: and it was said
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection."""
        return self._client is not None and not self._client.lost.done()

    async def publish(self, message: Message) -> int:
        """Return the reason code of the acknowledgement.

        What was on its way when the connection broke goes out once more on the next, if
        there is one at once. Raises Lost and `client.TooBig`.
        """
        client = await self.up()
        try:
            return await client.confirmed(message)
        except Lost:
            if self._over.is_set():
                raise
        client = await self.up()
        return await client.confirmed(message)

    async def up(self) -> Client:
        """Return the connection; without one, what comes of an attempt made now.

        One that is under way may have been refused already: the next one tells.
        Raises Lost.
        """
        seen = self._begun
        while (client := self._client) is None or client.lost.done():
            if self._failed > seen or self._over.is_set():
                raise Lost(self._reason)
            self._asked.set()
            await self._news.wait()
        return client

    async def news(self) -> None:
        """Wait until a connection is made or gone, or an attempt has failed."""
        await self._news.wait()

    def stop(self) -> None:
        """Let `keep` take leave of the broker and return."""
        self._over.set()
        self._asked.set()
        self._wake.set()

    async def keep(self) -> None:
        """Connect, and again whenever the connection is gone."""
        failures = 0
        loop = asyncio.get_running_loop()
        while not self._over.is_set():
            self._asked.clear()
            self._begun += 1
            began, terms = loop.time(), self.terms
            self._reason = await self._ended()
            if self._over.is_set():
                break
            if not self._is_gone:
                self._is_gone = True
                self.log.warning("mqtt.broker_gone", reason=self._reason)
            has_stood = self.terms != terms
            if not has_stood:
                self._failed = self._begun
            self._tell()
            is_steady = has_stood and loop.time() - began >= STEADY
            failures = 0 if is_steady else failures + 1
            await self._pause(failures)
        self._reason = "the plugin is being closed"
        self._tell()

    async def _ended(self) -> str:
        """Make one connection and hold it, whatever becomes of it; return that."""
        try:
            return await self._connection()
        except Exception as error:
            # A library that we do not own: whatever it is, the next attempt may do.
            self.log.exception("mqtt.connection_failed")
            return type(error).__name__

    async def _connection(self) -> str:
        """Make one connection and hold it; return why there is none any more."""
        try:
            async with Client(self.way()) as client:
                async with asyncio.timeout(CONNECT):
                    await self.greet(client)
                await self._hold(client)
            return client.why_lost()
        except Lost as lost:
            return str(lost)
        except (aiomqtt.MqttError, OSError) as error:
            return not_connected(error, within=CONNECT)
        finally:
            self._client = None

    async def _hold(self, client: Client) -> None:
        self._client = client
        self.terms += 1
        if self._is_gone:
            self._is_gone = False
            self.log.info("mqtt.broker_back")
        self._tell()
        client.lost.add_done_callback(lambda _: self._wake.set())
        while not client.lost.done() and not self._over.is_set():
            self._wake.clear()
            await self._wake.wait()
        if not client.lost.done():
            async with asyncio.timeout(LEAVE):
                await self.leave(client)

    async def _pause(self, failures: int) -> None:
        """Wait longer after each failure, but no longer than until somebody asks."""
        if not failures:
            return
        longest = min(FIRST_WAIT * 2 ** min(failures - 1, 10), LONGEST_WAIT)
        seconds = longest * random.uniform(0.5, 1.0)  # noqa: S311 - only spread
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
