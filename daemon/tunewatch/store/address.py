"""Where a store is: an address names an engine, the engine's tables a revision.

Light enough for commands that only read; opens nothing to write.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from tunewatch.store.carrier import Carrier
from tunewatch.store.migrations import HEAD, REVISIONS
from tunewatch.store.records import StoreUnusable
from tunewatch.store.schema import metadata

Password = str | Callable[[], str | None] | None


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


async def postgres(stack: AsyncExitStack, url: str, password: Password) -> Carrier:
    """Open a PostgreSQL store's carrier, closed by the stack. Raises StoreFault."""
    try:
        from tunewatch.store.postgres import postgres_carrier
    except ImportError as error:
        raise StoreUnusable(
            f"PostgreSQL needs a package that is not installed ({error.name}): "
            f"install tunewatch[postgres]"
        ) from None
    return await stack.enter_async_context(postgres_carrier(url, password=password))


def revision(connection: Connection) -> str | None:
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
