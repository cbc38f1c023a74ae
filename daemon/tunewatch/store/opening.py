"""The door of the store for the one daemon that writes.

Makes and upgrades it where needed. Alembic is imported only when a step is missing: the
import alone costs more than everything else at a start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, text

from tunewatch.plugin import Clock
from tunewatch.store import files
from tunewatch.store.address import Password, postgres, revision, sqlite_path
from tunewatch.store.carrier import Carrier, Dialect
from tunewatch.store.journal import Journal
from tunewatch.store.leases import Leases
from tunewatch.store.migrations import HEAD
from tunewatch.store.plugin_states import PluginStates
from tunewatch.store.reads import Reader
from tunewatch.store.redelivering import Redeliver
from tunewatch.store.requests import Requests
from tunewatch.store.retention import Retention
from tunewatch.store.silence import silent_ones_ended
from tunewatch.store.sources import Sources
from tunewatch.store.sqlite import sqlite_carrier

_MIGRATION_LOCK = 0x74756E65  # "tune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Everything that outlives the process, for the one daemon that may write."""

    carrier: Carrier
    journal: Journal
    leases: Leases
    sources: Sources
    requests: Requests
    redeliver: Redeliver
    plugin_states: PluginStates
    reads: Reader
    retention: Retention

    @property
    def dialect(self) -> Dialect:
        """Which engine it is."""
        return self.carrier.dialect


@asynccontextmanager
async def open_store(
    url: str, *, password: Password = None, clock: Clock, owner: str
) -> AsyncIterator[Store]:
    """Open the store to write, making or upgrading it where needed.

    `owner` names this process among replicas. Raises StoreInUse, StoreUnusable (both
    say what to do) or StoreUnavailable (the database is away: try again).
    """
    async with AsyncExitStack() as stack:
        path = sqlite_path(url)
        if path is None:
            carrier: Carrier = await postgres(stack, url, password)
            await stack.enter_async_context(silent_ones_ended(carrier))
        else:
            stack.enter_context(files.held(path))
            carrier = await stack.enter_async_context(sqlite_carrier(path))
        if await carrier.read(revision) != HEAD:
            await carrier.write(_upgrade)
        yield Store(
            carrier=carrier,
            journal=Journal(carrier, clock=clock),
            leases=Leases(carrier, owner=owner, clock=clock),
            sources=Sources(carrier, clock=clock),
            requests=Requests(carrier, clock=clock),
            redeliver=Redeliver(carrier, clock=clock),
            plugin_states=PluginStates(carrier, replica=owner, clock=clock),
            reads=Reader(carrier),
            retention=Retention(carrier, clock=clock),
        )


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Held to the end of this transaction, so that it works behind a pooler.
        connection.execute(
            text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK}
        )
    if revision(connection) == HEAD:
        return  # another replica was faster
    from tunewatch.store.migrations.step import upgrade

    upgrade(connection)
