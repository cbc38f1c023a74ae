"""The door of the store for who only reads, beside a running daemon or without one.

Imports nothing that writes: a command that shows a table must not pay for a journal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tunewatch.store.address import Password, postgres, revision, sqlite_path
from tunewatch.store.carrier import Carrier
from tunewatch.store.migrations import HEAD
from tunewatch.store.reads import Reader
from tunewatch.store.records import StoreUnusable
from tunewatch.store.sqlite import sqlite_reader


@asynccontextmanager
async def open_reader(url: str, *, password: Password = None) -> AsyncIterator[Reader]:
    """Open the store read-only, beside a running daemon or without one.

    Makes nothing and upgrades nothing. Raises StoreUnusable, StoreUnavailable.
    """
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
        yield Reader(carrier)
