"""The door of the store: open it to write, or beside a running daemon to read.

Knows addresses and revisions. Alembic is imported only when a step is missing: the
import alone costs more than everything else at a start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from tunewatch.plugin import Clock
from tunewatch.store import files
from tunewatch.store.carrier import Carrier, Dialect
from tunewatch.store.journal import Journal
from tunewatch.store.leases import Leases
from tunewatch.store.migrations import HEAD, REVISIONS
from tunewatch.store.reads import Reader
from tunewatch.store.records import StoreUnusable
from tunewatch.store.requests import Requests
from tunewatch.store.retention import Retention
from tunewatch.store.schema import metadata
from tunewatch.store.sources import Sources
from tunewatch.store.sqlite import sqlite_carrier, sqlite_reader

Password = str | Callable[[], str | None] | None

_MIGRATION_LOCK = 0x74756E65  # "tune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Everything that outlives the process, for the one daemon that may write."""

    carrier: Carrier
    journal: Journal
    leases: Leases
    sources: Sources
    requests: Requests
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
            carrier: Carrier = await _postgres(stack, url, password)
        else:
            stack.enter_context(files.held(path))
            carrier = await stack.enter_async_context(sqlite_carrier(path))
        if await carrier.read(_revision) != HEAD:
            await carrier.write(_upgrade)
        yield Store(
            carrier=carrier,
            journal=Journal(carrier, clock=clock),
            leases=Leases(carrier, owner=owner, clock=clock),
            sources=Sources(carrier, clock=clock),
            requests=Requests(carrier, clock=clock),
            reads=Reader(carrier),
            retention=Retention(carrier, clock=clock),
        )


@asynccontextmanager
async def open_reader(url: str, *, password: Password = None) -> AsyncIterator[Reader]:
    """Open the store read-only, beside a running daemon or without one.

    Makes nothing and upgrades nothing. Raises StoreUnusable, StoreUnavailable.
    """
    async with AsyncExitStack() as stack:
        path = sqlite_path(url)
        if path is None:
            carrier: Carrier = await _postgres(stack, url, password)
        elif path.exists() and path.stat().st_size:
            carrier = await stack.enter_async_context(sqlite_reader(path))
        else:
            raise StoreUnusable(
                f"there is no store at {path}: start `tunewatch run` once, or name "
                f"the right file (daemon.state)"
            )
        found = await carrier.read(_revision)
        if found != HEAD:
            raise StoreUnusable(
                f"the store is at revision {found or 'none'}, this version reads "
                f"{HEAD}: start `tunewatch run` of this version once"
            )
        yield Reader(carrier)


def sqlite_path(url: str) -> Path | None:
    """Return the file of an SQLite address, None for PostgreSQL.

    Raises StoreUnusable for an address that is neither.
    """
    scheme, _, rest = url.partition("://")
    if scheme in {"postgresql", "postgres", "postgresql+asyncpg"}:
        return None
    if scheme != "sqlite" or not rest.startswith("/") or rest in {"/", "/:memory:"}:
        raise StoreUnusable(
            f"daemon.state must be sqlite:///path, sqlite:////absolute/path or "
            f"postgresql://user@host/database, and has the scheme {scheme!r}"
        )
    return Path(rest[1:])


async def _postgres(stack: AsyncExitStack, url: str, password: Password) -> Carrier:
    try:
        from tunewatch.store.postgres import postgres_carrier
    except ImportError as error:
        raise StoreUnusable(
            f"PostgreSQL needs a package that is not installed ({error.name}): "
            f"install tunewatch[postgres]"
        ) from None
    return await stack.enter_async_context(postgres_carrier(url, password=password))


def _revision(connection: Connection) -> str | None:
    """Return the revision of the tables, None if there are none.

    Raises StoreUnusable for tables of a later version, or somebody else's.
    """
    present = set(inspect(connection).get_table_names())
    found: str | None = None
    if "alembic_version" in present:
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found is None:
        foreign = sorted(present & metadata.tables.keys())
        if foreign:
            raise StoreUnusable(
                f"there are tables that tunewatch did not make ({', '.join(foreign)}): "
                f"give tunewatch a database of its own (daemon.state)"
            )
    elif found not in REVISIONS:
        raise StoreUnusable(
            f"the store was upgraded by a later version of tunewatch (revision "
            f"{found}, this version knows {HEAD}): run that version, or restore a "
            f"backup from before the upgrade"
        )
    return found


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Held to the end of this transaction, so that it works behind a pooler.
        connection.execute(
            text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK}
        )
    if _revision(connection) == HEAD:
        return  # another replica was faster
    from tunewatch.store.migrations.step import upgrade

    upgrade(connection)
