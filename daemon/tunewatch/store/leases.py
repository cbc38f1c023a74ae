"""Who may write for a source: one replica at a time, proved in every transaction.

A lease expires by the database's clock; on SQLite the lock beside the file is the
lease, and no clock is waited for. Knows nothing of what is done under a lease.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    bindparam,
    select,
    text,
    update,
)
from sqlalchemy import literal_column as literal

from tunewatch.plugin import Clock
from tunewatch.store.carrier import Carrier
from tunewatch.store.records import Fence, LeaseLost
from tunewatch.store.schema import lease, source
from tunewatch.store.statements import Proof, execute

TTL = 12.0
"""s a lease lasts without a renewal."""


class Holder(NamedTuple):
    """What the fence tells of its source, since it reads the row anyway."""

    name: str
    realm: str
    first_contact_at: float


class _Seen(NamedTuple):
    token: int
    is_free: bool


class LeaseRow(NamedTuple):
    """A lease as every replica sees it."""

    source_id: int
    owner: str
    token: int
    is_free: bool


fenced = (
    select(source.c.name, source.c.realm, source.c.first_contact_at)
    .join(lease, lease.c.source_id == source.c.id)
    .where(
        lease.c.source_id == bindparam("source_id"),
        lease.c.token == bindparam("token"),
    )
    # Holds off a takeover, not a renewal and not another writer of this source.
    .with_for_update(read=True, key_share=True, of=lease)
)


def fence(connection: Connection, held: Fence) -> Holder:
    """Begin a writing transaction: nobody takes the source over before it ends.

    Raises LeaseLost.
    """
    row = connection.execute(
        fenced, {"source_id": held.source_id, "token": held.token}
    ).one_or_none()
    if row is None:
        raise lost(held)
    return Holder(*row)


def check(connection: Connection, held: Fence) -> None:
    """Begin a writing transaction as `fence` does, and ask nothing of the source.

    Raises LeaseLost. On PostgreSQL a third of the price: one round trip.
    """
    if connection.dialect.name == "sqlite":
        fence(connection, held)
        return
    ours = proof(held)
    if execute(connection, ours.sql) != "SELECT 1":
        raise ours.otherwise


def proof(held: Fence) -> Proof:
    """Return what finds one row, and locks it, while the lease is ours (PostgreSQL)."""
    return Proof(
        "SELECT 1 FROM lease WHERE"  # noqa: S608 - two numbers of our own
        f" source_id = {held.source_id:d} AND token = {held.token:d} FOR KEY SHARE",
        lost(held),
    )


def lost(held: Fence) -> LeaseLost:
    """Return the fault of writing under a lease that somebody else has."""
    return LeaseLost(f"the lease of source {held.source_id} was taken over")


class Leases:
    """The leases as this process takes, renews and gives them back."""

    def __init__(
        self, carrier: Carrier, *, owner: str, clock: Clock, ttl: float = TTL
    ) -> None:
        self._carrier = carrier
        self._owner = owner
        self.clock = clock
        self.ttl = ttl
        self._trusted: dict[Fence, float] = {}

    async def acquire(self, source_id: int) -> Fence | None:
        """Take the lease of a source if it is free, else return None.

        Waits for writes under the old lease to end. Raises StoreFault.
        """
        seen = await self._carrier.read(partial(self._see, source_id=source_id))
        if seen is not None and not seen.is_free:
            return None  # asked every 2 s: no write for nothing
        sent = self.clock.monotonic()
        taken = await self._carrier.write(partial(self._take, source_id=source_id))
        if taken is not None:
            self._trusted[taken] = sent + self.ttl
        return taken

    async def again(self, held: Fence) -> Fence | None:
        """Begin a new term of a lease that is ours; None if it is not any more.

        Nobody can take it in between. Waits for writes of the old term to end. Raises
        StoreFault.
        """
        sent = self.clock.monotonic()
        anew = await self._carrier.write(partial(self._anew, held=held))
        self._trusted.pop(held, None)
        if anew is not None:
            self._trusted[anew] = sent + self.ttl
        return anew

    async def renew(self, fences: Iterable[Fence]) -> set[Fence]:
        """Renew leases; return those that are still ours. Raises StoreFault."""
        mine = sorted(fences)
        sent = self.clock.monotonic()
        run = self._carrier.read if self._lasts else self._carrier.write
        kept = await run(partial(self._prolong, mine=mine))
        for held in mine:
            if held in kept:
                self._trusted[held] = sent + self.ttl
            else:
                self._trusted.pop(held, None)
        return kept

    async def release(self, held: Fence) -> None:
        """Give a lease back: whoever seeks may have it at once. Raises StoreFault."""
        self._trusted.pop(held, None)
        await self._carrier.write(partial(_free, held=held))

    async def rows(self) -> list[LeaseRow]:
        """Return all leases there have been, by source. Raises StoreFault."""
        return await self._carrier.read(_rows)

    def expires_in(self, held: Fence) -> float:
        """Return the seconds for which a lease is surely ours.

        Counted on the monotonic clock from before the last renewal was sent; 0 or less
        if it is not. One that lasts as long as the process does not run out, however
        long the process was frozen.
        """
        trusted = self._trusted.get(held)
        if trusted is None:
            return 0.0
        return self.ttl if self._lasts else trusted - self.clock.monotonic()

    @property
    def are_shared(self) -> bool:
        """Whether other replicas may seek the same leases."""
        return not self._lasts

    @property
    def _lasts(self) -> bool:
        """Whether a lease lasts as long as the process: nobody else has the file."""
        return self._carrier.dialect == "sqlite"

    def _see(
        self, connection: Connection, *, source_id: int, lock: bool = False
    ) -> _Seen | None:
        is_free = lease.c.expires_at <= database_clock(connection)
        statement = select(lease.c.token, is_free.label("is_free")).where(
            lease.c.source_id == source_id
        )
        if lock:
            statement = statement.with_for_update()
        row = connection.execute(statement).one_or_none()
        if row is None:
            return None
        return _Seen(row.token, bool(row.is_free) or self._lasts)

    def _take(self, connection: Connection, *, source_id: int) -> Fence | None:
        now = database_clock(connection)
        _insert(connection, source_id)
        # Waits until the last write under the old token has ended; looks again then.
        seen = self._see(connection, source_id=source_id, lock=True)
        if seen is None or not seen.is_free:
            return None
        token = seen.token + 1
        connection.execute(
            update(lease)
            .where(lease.c.source_id == source_id)
            .values(owner=self._owner, token=token, expires_at=now + self.ttl)
        )
        return Fence(source_id, token)

    def _anew(self, connection: Connection, *, held: Fence) -> Fence | None:
        # Locked first, as by who takes it over: the token tells who may write.
        self._see(connection, source_id=held.source_id, lock=True)
        values = {
            "token": held.token + 1,
            "expires_at": database_clock(connection) + self.ttl,
        }
        done = connection.execute(update(lease).where(*_is(held)).values(values))
        return Fence(held.source_id, held.token + 1) if done.rowcount else None

    def _prolong(self, connection: Connection, *, mine: list[Fence]) -> set[Fence]:
        if self._lasts:
            kept = {(row.source_id, row.token) for row in _rows(connection)}
            return {held for held in mine if held in kept}
        prolong = update(lease).values(expires_at=database_clock(connection) + self.ttl)
        return {
            held
            for held in mine
            if connection.execute(prolong.where(*_is(held))).rowcount
        }


def database_clock(connection: Connection) -> ColumnElement[float]:
    """Return the expression for unix seconds by the database's clock."""
    if connection.dialect.name == "sqlite":
        return literal("((julianday('now') - 2440587.5) * 86400.0)", Double)
    return literal("extract(epoch from clock_timestamp())::double precision", Double)


def _is(held: Fence) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return lease.c.source_id == held.source_id, lease.c.token == held.token


def _insert(connection: Connection, source_id: int) -> None:
    connection.execute(
        text(
            "INSERT INTO lease (source_id, owner, token, expires_at) "
            "VALUES (:id, '', 0, 0) ON CONFLICT DO NOTHING"
        ),
        {"id": source_id},
    )


def _free(connection: Connection, *, held: Fence) -> None:
    connection.execute(update(lease).where(*_is(held)).values(expires_at=0.0))


def _rows(connection: Connection) -> list[LeaseRow]:
    is_free: Any = (lease.c.expires_at <= database_clock(connection)).label("is_free")
    statement = select(lease.c.source_id, lease.c.owner, lease.c.token, is_free)
    rows = connection.execute(statement.order_by(lease.c.source_id))
    return [LeaseRow(*row) for row in rows]
