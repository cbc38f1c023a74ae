"""Asking for redeliveries: what a request would do, making it, and what became of it.

Making one inserts rows and nothing more; whoever delivers to the source takes them up
within a second, wherever it runs. Safe beside a running daemon.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Select, func, insert, select

from tunewatch.plugin import Clock
from tunewatch.store.audit import Deed, note
from tunewatch.store.carrier import Carrier
from tunewatch.store.choice import Line, Plan, Selection, Subscribed
from tunewatch.store.choosing import choose
from tunewatch.store.counting import lines
from tunewatch.store.redelivery import cancel
from tunewatch.store.schema import attempt, redelivery, stretch
from tunewatch.store.statements import Batch, Row
from tunewatch.store.under_way import types_text

_selection = msgspec.json.Decoder(Selection)
AT_ONCE = 10_000
"""Stretches written by one statement, at most."""
_COLUMNS = (
    "redelivery",
    "plugin",
    "source_id",
    "job_key",
    "first",
    "last",
    "letter",
    "named",
    "types",
)


class Progress(NamedTuple):
    """A redelivery and what became of it so far."""

    id: int
    at: float  #: unix seconds when it was asked for
    by: str  #: who asked
    selection: Selection
    events: int  #: how many it was for
    accepted: int  #: events, as far as the delivery log reaches back
    left: int  #: stretches, each the events of one job, that are not over
    refused: int  #: stretches of which nothing could be delivered
    reason: str | None  #: why the last of these could not


class Redeliver:
    """Redeliveries, for whoever asks. Every method may raise StoreFault."""

    def __init__(self, carrier: Carrier, *, clock: Clock) -> None:
        self._carrier = carrier
        self._clock = clock

    async def plan(self, selection: Selection, plugins: Iterable[Subscribed]) -> Plan:
        """Return what a selection comes to now, and change nothing.

        `plugins` are those that are configured. Raises CannotChoose.
        """
        return await choose(self._carrier, selection, list(plugins))

    async def lines(
        self, plan: Plan, plugins: Iterable[Subscribed], *, limit: int
    ) -> list[Line]:
        """Return the first events of a plan, in the order they would go out."""
        by_name = {one.name: one for one in plugins}
        read = partial(lines, stretches=plan.stretches, plugins=by_name, limit=limit)
        return await self._carrier.read(read)

    async def make(self, plan: Plan, *, deed: Deed) -> int | None:
        """Ask for what was planned; return the redelivery's id.

        None if somebody else has asked for all of it in the meantime, or there is
        nothing to do: then nothing is noted.
        """
        if not plan.stretches:
            return None
        at = self._clock.now()
        return await self._carrier.write(partial(_make, plan=plan, deed=deed, at=at))

    async def cancel(self, redelivery_id: int, *, by: str) -> int:
        """Take back what has not gone out yet; return how many stretches that is.

        What is just on its way still arrives. `by` names who asks, for the record.
        """
        deed = Deed(by, "cancel_redelivery", str(redelivery_id))
        at = self._clock.now()
        cancelled = partial(_cancel, redelivery_id=redelivery_id, deed=deed, at=at)
        return await self._carrier.write(cancelled)

    async def progress(self, redelivery_id: int) -> Progress | None:
        """Return what became of a redelivery; None if there is no record of it."""
        statement = select(redelivery).where(redelivery.c.id == redelivery_id)
        found = await self._carrier.read(partial(_progress, statement))
        return found[0] if found else None

    async def recent(
        self, *, limit: int = 100, after: int | None = None
    ) -> list[Progress]:
        """Return redeliveries, newest first; `after` is the id of the last one had."""
        statement = select(redelivery).order_by(redelivery.c.id.desc()).limit(limit)
        if after is not None:
            statement = statement.where(redelivery.c.id < after)
        return await self._carrier.read(partial(_progress, statement))


def _make(connection: Connection, plan: Plan, deed: Deed, at: float) -> int | None:
    row = {
        "at": at,
        "by": deed.by,
        "asked": msgspec.json.encode(plan.selection),
        "events": plan.events,
        "refused": 0,
    }
    made: int = connection.execute(
        insert(redelivery).values(row).returning(redelivery.c.id)
    ).scalar_one()
    rows: list[Row] = [
        (made, *one[:7], types_text(one.types)) for one in plan.stretches
    ]
    batch = Batch(connection)
    for begin in range(0, len(rows), AT_ONCE):
        some = rows[begin : begin + AT_ONCE]
        batch.insert(stretch, _COLUMNS, some, conflict="ON CONFLICT DO NOTHING")
        batch.write()
    if _left(connection, made):
        asked = f"asked for: redelivery {made} of {plan.events} events"
        note(connection, deed, at=at, outcome=asked)
        return made
    connection.execute(redelivery.delete().where(redelivery.c.id == made))
    return None


def _cancel(connection: Connection, redelivery_id: int, deed: Deed, at: float) -> int:
    taken = cancel(connection, redelivery_id, reason=f"cancelled by {deed.by}")
    if taken:
        note(connection, deed, at=at, outcome=f"taken back: {taken} stretches")
    return taken


def _progress(statement: Select[Any], connection: Connection) -> list[Progress]:
    return [
        Progress(
            id=row.id,
            at=row.at,
            by=row.by,
            selection=_selection.decode(row.asked),
            events=row.events,
            accepted=_accepted(connection, row.id),
            left=_left(connection, row.id),
            refused=row.refused,
            reason=row.reason,
        )
        for row in connection.execute(statement).all()
    ]


def _left(connection: Connection, redelivery_id: int) -> int:
    left = select(func.count()).where(stretch.c.redelivery == redelivery_id)
    return connection.scalar(left) or 0


def _accepted(connection: Connection, redelivery_id: int) -> int:
    """Return how many events were accepted: one that went out twice is one."""
    each = (
        select(attempt.c.plugin, attempt.c.position)
        .where(attempt.c.redelivery == redelivery_id, attempt.c.outcome == "accepted")
        .distinct()
        .subquery()
    )
    return connection.scalar(select(func.count()).select_from(each)) or 0
