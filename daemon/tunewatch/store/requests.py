"""What a person asked for, as rows: any replica inserts, the owner takes.

Knows that a request has a kind and a body; what they mean is the taker's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, literal, select

from tunewatch.plugin import Clock
from tunewatch.store.audit import Deed, note
from tunewatch.store.carrier import Carrier
from tunewatch.store.leases import fence
from tunewatch.store.records import Fence
from tunewatch.store.schema import request

MOST = 100
"""Requests taken at once."""


class Request(NamedTuple):
    """A request as its taker reads it."""

    id: int
    kind: str
    source_id: int | None
    body: bytes
    at: float


class Requests:
    """The requests that wait."""

    def __init__(self, carrier: Carrier, *, clock: Clock) -> None:
        self._carrier = carrier
        self._clock = clock

    async def add(
        self, kind: str, source_id: int | None, body: bytes, *, deed: Deed
    ) -> int:
        """Insert a request, note whose it is, and return its id. Raises StoreFault."""
        row = {
            "kind": kind,
            "source_id": source_id,
            "body": body,
            "at": self._clock.now(),
        }
        return await self._carrier.write(partial(_add, row=row, deed=deed))

    async def add_once(self, kind: str, source_id: int, body: bytes) -> None:
        """Insert a request unless the same one waits already. Raises StoreFault."""
        row = {
            "kind": kind,
            "source_id": source_id,
            "body": body,
            "at": self._clock.now(),
        }
        await self._carrier.write(partial(_add_once, row=row))

    async def pending(self, kinds: Sequence[str]) -> list[Request]:
        """Return what waits, oldest first, without taking it. Raises StoreFault."""
        return await self._carrier.read(partial(_waiting, kinds=kinds))

    async def drop(self, *ids: int) -> None:
        """Remove requests. Raises StoreFault."""
        await self._carrier.write(
            lambda connection: connection.execute(
                delete(request).where(request.c.id.in_(ids))
            )
        )

    async def take(self, held: Fence | None, kinds: Sequence[str]) -> list[Request]:
        """Remove and return what waits for a source, or (None) for no source.

        Raises LeaseLost, StoreFault. Who needs the request gone in the same transaction
        as its effect calls `take_within` there.
        """
        # Asked twice a second: it writes only when there is something.
        if not await self._carrier.read(partial(_taken, kinds=kinds, held=held)):
            return []
        return await self._carrier.write(partial(take_within, held=held, kinds=kinds))


def take_within(
    connection: Connection, held: Fence | None, kinds: Sequence[str]
) -> list[Request]:
    """Take requests inside of a transaction. Raises LeaseLost."""
    if held is not None:
        fence(connection, held)
    found = _taken(connection, kinds, held, lock=connection.dialect.name != "sqlite")
    if found:
        ids = [row.id for row in found]
        connection.execute(delete(request).where(request.c.id.in_(ids)))
    return found


def _add(connection: Connection, row: Mapping[str, Any], deed: Deed) -> int:
    made: int = connection.execute(
        insert(request).values(row).returning(request.c.id)
    ).scalar_one()
    note(connection, deed, at=row["at"], outcome=f"asked for: request {made}")
    return made


def _add_once(connection: Connection, row: Mapping[str, object]) -> None:
    same = [request.c[name] == row[name] for name in ("kind", "source_id", "body")]
    values = [literal(row[name], request.c[name].type) for name in row]
    unless = select(*values).where(~select(request.c.id).where(*same).exists())
    connection.execute(insert(request).from_select(list(row), unless))


def _waiting(connection: Connection, kinds: Sequence[str]) -> list[Request]:
    statement = select(request).where(request.c.kind.in_(kinds))
    rows = connection.execute(statement.order_by(request.c.id).limit(MOST))
    return [Request(*row) for row in rows]


def _taken(
    connection: Connection,
    kinds: Sequence[str],
    held: Fence | None,
    *,
    lock: bool = False,
) -> list[Request]:
    source_id = None if held is None else held.source_id
    statement = (
        select(request)
        .where(
            request.c.kind.in_(kinds),
            request.c.source_id.is_not_distinct_from(source_id),
        )
        .order_by(request.c.id)
        .limit(MOST)
    )
    if lock:
        statement = statement.with_for_update(skip_locked=True)
    return [Request(*row) for row in connection.execute(statement)]
