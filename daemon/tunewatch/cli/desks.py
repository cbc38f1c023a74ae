"""Who delivers again when asked to: a store's running daemon, or the one at a URL.

Both speak in the questions and answers of the API; neither waits for anything.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

from tunewatch.api.answers_deliveries import PlanAnswer
from tunewatch.api.asked_deliveries import RedeliverBody
from tunewatch.api.reading import Reading
from tunewatch.cli.options import Where
from tunewatch.cli.settings import load_settings

if TYPE_CHECKING:
    # Who asks a daemon at a URL has no use for the store, and the other way round.
    from tunewatch.cli.remote import Remote
    from tunewatch.config import DaemonSettings
    from tunewatch.host import Instance
    from tunewatch.store.carrier import Carrier


class Desk(Protocol):
    """Takes what is to be delivered again."""

    @property
    def reading(self) -> Reading:
        """Who knows what became of it."""
        ...

    async def redeliver(self, body: RedeliverBody) -> PlanAnswer:
        """Ask for what is meant, or only say what it would be. Raises NotAnswered."""
        ...

    async def cancel(self, redelivery: int) -> None:
        """Take back what has not gone out of a redelivery."""
        ...

    async def is_served(self) -> bool:
        """Whether anybody is there to do it."""
        ...

    async def troubles(self, names: Collection[str]) -> list[str]:
        """Say of each of these plugins that is not up how it is."""
        ...


def open_desk(where: Where, *, to_write: bool) -> AbstractAsyncContextManager[Desk]:
    """Open whom to ask; a store is written to only if `to_write`.

    Raises ConfigError, StoreFault, and Quit if a daemon cannot be asked.
    """
    if where.url is not None:
        return _at_url(where)
    settings = load_settings(where.config)
    from tunewatch import host

    return _beside(settings.daemon, host.instances(settings), to_write=to_write)


class _Store:
    """The store: rows that the daemon beside it takes up."""

    def __init__(
        self, daemon: DaemonSettings, carrier: Carrier, plugins: Sequence[Instance]
    ) -> None:
        from tunewatch.api.acting import Acting
        from tunewatch.api.stored import Stored
        from tunewatch.cli.beside import who
        from tunewatch.clock import SystemClock
        from tunewatch.store.reads import Reader
        from tunewatch.store.redelivering import Redeliver
        from tunewatch.store.requests import Requests

        self._state = daemon.state
        self._carrier = carrier
        redeliver = Redeliver(carrier, clock=SystemClock())
        self.reading = Stored(Reader(carrier), redeliver, instances=plugins)
        self._acting = Acting(
            reading=self.reading,
            requests=Requests(carrier, clock=SystemClock()),
            redelivering=redeliver,
            plugins=plugins,
            by=who(),
        )

    async def redeliver(self, body: RedeliverBody) -> PlanAnswer:
        return await self._acting.redeliver(body)

    async def cancel(self, redelivery: int) -> None:
        await self._acting.cancel(str(redelivery))

    async def is_served(self) -> bool:
        from tunewatch.store.reading import is_served

        return await is_served(self._state, self._carrier)

    async def troubles(self, names: Collection[str]) -> list[str]:
        from tunewatch.store import plugin_states

        states = await self._carrier.read(plugin_states.current)
        return [
            _trouble(one.name, one.state, one.reason)
            for one in states
            if one.name in names and one.state != "up"
        ]


class _Daemon:
    """A daemon at a URL."""

    def __init__(self, remote: Remote) -> None:
        self.reading = remote

    async def redeliver(self, body: RedeliverBody) -> PlanAnswer:
        told = await self.reading.act("redeliver", "", body)
        return msgspec.json.decode(told, type=PlanAnswer)

    async def cancel(self, redelivery: int) -> None:
        await self.reading.act("cancel_redelivery", str(redelivery))

    async def is_served(self) -> bool:
        return True  # who does not answer raises

    async def troubles(self, names: Collection[str]) -> list[str]:
        return [
            _trouble(one.name, one.state, one.reason)
            for one in (await self.reading.plugins()).data
            if one.name in names and one.state not in {"up", "new"}
        ]


@asynccontextmanager
async def _at_url(where: Where) -> AsyncIterator[Desk]:
    from tunewatch.cli.remote import remote

    async with remote(where, os.environ) as daemon:
        yield _Daemon(daemon)


@asynccontextmanager
async def _beside(
    daemon: DaemonSettings, plugins: Sequence[Instance], *, to_write: bool
) -> AsyncIterator[Desk]:
    from tunewatch.cli.beside import beside
    from tunewatch.store.reading import open_to_read

    password = None if daemon.password is None else daemon.password.get
    if to_write:
        opened = beside(daemon)
    else:
        opened = open_to_read(daemon.state, password=password)
    async with opened as carrier:
        yield _Store(daemon, carrier, plugins)


def _trouble(name: str, state: str, reason: str | None) -> str:
    return f"{name} is {state}: {reason}"
