"""The door of the store for who only reads, beside a running daemon or without one.

Imports nothing that writes: a command that shows a table must not pay for a journal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy import Connection, func, select

from tunewatch.store.address import Password, postgres, revision, sqlite_path
from tunewatch.store.carrier import Carrier
from tunewatch.store.files import holder
from tunewatch.store.lease_rows import database_clock
from tunewatch.store.migrations import HEAD
from tunewatch.store.reads import Reader
from tunewatch.store.records import StoreUnusable
from tunewatch.store.schema import lease
from tunewatch.store.sqlite import sqlite_reader


@asynccontextmanager
async def open_reader(url: str, *, password: Password = None) -> AsyncIterator[Reader]:
    """Open the store read-only, beside a running daemon or without one.

    Makes nothing and upgrades nothing. Raises StoreUnusable, StoreUnavailable.
    """
    async with open_to_read(url, password=password) as carrier:
        yield Reader(carrier)


@asynccontextmanager
async def open_to_read(
    url: str, *, password: Password = None
) -> AsyncIterator[Carrier]:
    """Open the carrier of a store that is there, to read only; see `open_reader`."""
    async with AsyncExitStack() as stack:
        path = sqlite_path(url)
        if path is None:
            carrier: Carrier = await postgres(stack, url, password)
        elif path.exists() and path.stat().st_size:
            carrier = await stack.enter_async_context(sqlite_reader(path))
        else:
            raise StoreUnusable(
                f"there is no store at {path}: start `tunewatch run` once, or name "
                f"the right file (daemon.state)"
            )
        found = await carrier.read(revision)
        if found != HEAD:
            raise StoreUnusable(
                f"the store is at revision {found or 'none'}, this version reads "
                f"{HEAD}: start `tunewatch run` of this version once"
            )
        yield carrier


async def is_served(url: str, carrier: Carrier) -> bool:
    """Whether a daemon seems to have the store open. Raises StoreFault."""
    path = sqlite_path(url)
    if path is not None:
        return holder(path) is not None
    return await carrier.read(_is_leased)


def _is_leased(connection: Connection) -> bool:
    expires = lease.c.expires_at > database_clock(connection)
    return connection.scalar(select(func.count()).where(expires)) != 0
