"""Who may write for a source: one replica at a time, proved in every transaction.

A lease expires by the database's clock; on SQLite the lock beside the file is the
lease, and no clock is waited for. Knows nothing of what is done under a lease.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    false,
    select,
    tuple_,
    update,
)

from tunewatch.plugin import Clock
from tunewatch.store.carrier import Carrier
from tunewatch.store.lease_rows import (
    LeaseRow,
    Release,
    database_clock,
    free_all,
    free_among,
    free_of,
    insert,
    rows,
    take_free,
)
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
        self.owner = owner
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

    async def acquire_free(
        self, source_ids: Sequence[int], *, most: int
    ) -> list[Fence]:
        """Take leases that are free, so many at most, together. Raises StoreFault.

        Waits for nobody: one under whose old token somebody writes is left for the next
        time.
        """
        if self.are_shared and not await self._carrier.tally(free_among(source_ids)):
            return []  # asked all day long
        free = await self._carrier.read(partial(free_of, among=source_ids))
        if not free.source_ids:
            return []  # somebody was faster
        sent = self.clock.monotonic()
        taken = await self._carrier.write(
            partial(take_free, free=free.first(most), owner=self.owner, ttl=self.ttl),
            beside=True,
        )
        for held in taken:
            self._trusted[held] = sent + self.ttl
        return taken

    async def renew(self, fences: Iterable[Fence]) -> set[Fence]:
        """Renew leases; return those that are still ours. Raises StoreFault."""
        mine = sorted(fences)
        sent = self.clock.monotonic()
        prolong = partial(self._prolong, mine=mine)
        if self._lasts:
            kept = await self._carrier.read(prolong)
        else:
            kept = await self._carrier.write(prolong, beside=True)
        for held in mine:
            if held in kept:
                self._trusted[held] = sent + self.ttl
            else:
                self._trusted.pop(held, None)
        return kept

    async def release(self, held: Fence) -> None:
        """Give a lease back: whoever seeks may have it at once. Raises StoreFault."""
        self._trusted.pop(held, None)
        await self._carrier.write(Release(held), beside=True)

    async def release_all(self) -> None:
        """Give back whatever this process has, also what it does not know of.

        Such as what a cancelled `acquire` took all the same. Raises StoreFault.
        """
        self._trusted.clear()
        await self._carrier.write(partial(free_all, owner=self.owner), beside=True)

    async def try_to_write(self) -> None:
        """Change nothing, in a transaction that could. Raises StoreFault if none can.

        For who holds no lease, and has nothing to write: that a database answers does
        not tell that it is no standby.
        """
        nothing = update(lease).where(false()).values(owner=self.owner)
        await self._carrier.write(lambda c: c.execute(nothing) and None, beside=True)

    async def rows(self) -> list[LeaseRow]:
        """Return all leases there have been, by source. Raises StoreFault."""
        return await self._carrier.read(rows)

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
        insert(connection, source_id)
        # Waits until the last write under the old token has ended; looks again then.
        seen = self._see(connection, source_id=source_id, lock=True)
        if seen is None or not seen.is_free:
            return None
        token = seen.token + 1
        connection.execute(
            update(lease)
            .where(lease.c.source_id == source_id)
            .values(owner=self.owner, token=token, expires_at=now + self.ttl)
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
            kept = {(row.source_id, row.token) for row in rows(connection)}
            return {held for held in mine if held in kept}
        prolong = (
            update(lease)
            .values(expires_at=database_clock(connection) + self.ttl)
            .where(tuple_(lease.c.source_id, lease.c.token).in_(mine))
            .returning(lease.c.source_id, lease.c.token)
        )
        return {Fence(*row) for row in connection.execute(prolong)}


def _is(held: Fence) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return lease.c.source_id == held.source_id, lease.c.token == held.token
