"""Leases as rows: how they are seen, taken and given back, many of them at once.

Whether one has run out is said by the database's clock. On SQLite none is waited for:
whoever has the file has them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Double, select, text, tuple_, update
from sqlalchemy import literal_column as literal

from tunewatch.store.records import Fence
from tunewatch.store.schema import lease


class LeaseRow(NamedTuple):
    """A lease as every replica sees it."""

    source_id: int
    owner: str
    token: int
    is_free: bool


def database_clock(connection: Connection) -> ColumnElement[float]:
    """Return the expression for unix seconds by the database's clock."""
    if connection.dialect.name == "sqlite":
        return literal("((julianday('now') - 2440587.5) * 86400.0)", Double)
    return literal("extract(epoch from clock_timestamp())::double precision", Double)


def rows(connection: Connection) -> list[LeaseRow]:
    """Return all leases there have been, by source."""
    is_free: Any = (lease.c.expires_at <= database_clock(connection)).label("is_free")
    statement = select(lease.c.source_id, lease.c.owner, lease.c.token, is_free)
    found = connection.execute(statement.order_by(lease.c.source_id))
    return [LeaseRow(*row) for row in found]


def insert(connection: Connection, *source_ids: int) -> None:
    """Make the rows of sources that have none, free."""
    values = ", ".join(f"({source_id:d}, '', 0, 0)" for source_id in source_ids)
    connection.execute(
        text(
            "INSERT INTO lease (source_id, owner, token, expires_at) "  # noqa: S608
            f"VALUES {values} ON CONFLICT DO NOTHING"  # numbers of our own
        )
    )


def free_among(source_ids: Sequence[int]) -> str:
    """Return the question whether any of some leases is free (PostgreSQL)."""
    wanted = ",".join(f"{source_id:d}" for source_id in source_ids)
    return (
        f"SELECT 1 FROM unnest('{{{wanted}}}'::bigint[]) AS wanted"  # noqa: S608
        " LEFT JOIN lease ON source_id = wanted"
        " WHERE source_id IS NULL"
        " OR expires_at <= extract(epoch from clock_timestamp()) LIMIT 1"
    )


class Free(NamedTuple):
    """Leases that may be taken, in the order they were asked for."""

    source_ids: list[int]
    unborn: list[int]  #: those of them that have no row yet

    def first(self, most: int) -> Free:
        """Return so many of them at most."""
        source_ids = self.source_ids[:most]
        return Free(source_ids, [one for one in self.unborn if one in source_ids])


def free_of(connection: Connection, *, among: Sequence[int]) -> Free:
    """Return which of some leases are free."""
    is_held: Any = lease.c.expires_at > database_clock(connection)
    found = connection.execute(select(lease.c.source_id, is_held)).all()
    held = {source_id: bool(is_held) for source_id, is_held in found}
    if connection.dialect.name == "sqlite":
        held = dict.fromkeys(held, False)
    return Free(
        source_ids=[one for one in among if not held.get(one, False)],
        unborn=[one for one in among if one not in held],
    )


def take_free(
    connection: Connection, *, free: Free, owner: str, ttl: float
) -> list[Fence]:
    """Take those of some leases that are free still and that nobody writes under."""
    now = database_clock(connection)
    if free.unborn:
        # Only these: an insert waits for whoever is changing the row that is there.
        insert(connection, *sorted(free.unborn))
    statement = (
        select(lease.c.source_id, lease.c.token)
        .where(lease.c.source_id.in_(free.source_ids))
        .order_by(lease.c.source_id)
    )
    if connection.dialect.name != "sqlite":
        statement = statement.where(lease.c.expires_at <= now)
        statement = statement.with_for_update(skip_locked=True)
    found = connection.execute(statement).all()
    if found:
        connection.execute(
            update(lease)
            .where(lease.c.source_id.in_([row.source_id for row in found]))
            .values(owner=owner, token=lease.c.token + 1, expires_at=now + ttl)
        )
    return [Fence(row.source_id, row.token + 1) for row in found]


@dataclass(frozen=True, slots=True)
class Release:
    """Many are given back at once: a process that ends lets go of all it has."""

    held: Fence

    @property
    def kind(self) -> str:
        """See `carrier.Mergeable`."""
        return "release"

    def __call__(self, connection: Connection) -> None:
        """Give this one back."""
        self.together(connection, [self])

    def together(self, connection: Connection, every: Sequence[Release]) -> list[None]:
        """See `carrier.Mergeable`."""
        given_back = tuple_(lease.c.source_id, lease.c.token).in_(
            sorted(one.held for one in every)
        )
        connection.execute(update(lease).where(given_back).values(expires_at=0.0))
        return [None] * len(every)


def free_all(connection: Connection, *, owner: str) -> None:
    """Give back whatever a process has."""
    connection.execute(
        update(lease)
        .where(lease.c.owner == owner, lease.c.expires_at > 0.0)
        .values(expires_at=0.0)
    )
