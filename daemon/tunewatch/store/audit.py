"""The record of what people had done: who, what, on what, and what came of it.

A row is written in the transaction of the deed, so that neither is there without the
other. Knows no meaning of what was done.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, insert, select

from tunewatch.store.carrier import Carrier
from tunewatch.store.schema import audit


class Deed(NamedTuple):
    """What somebody has done."""

    by: str  #: a token's name, `api:ADDRESS` or `cli:USER@HOST`
    what: str  #: its name in the API
    about: str | None = None  #: the one it is about


class Audited(NamedTuple):
    """A row of the record."""

    id: int
    at: float  #: unix seconds
    by: str
    what: str
    about: str | None
    outcome: str  #: for a person


class Audit:
    """The record, newest first. Every method may raise StoreFault."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    async def rows(
        self,
        *,
        by: str | None = None,
        what: str | None = None,
        about: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = 100,
        after: int | None = None,
    ) -> list[Audited]:
        """Return what was done; `after` is the id of the last one had before."""
        wanted = select(audit)
        for column, value in (
            (audit.c.by, by),
            (audit.c.what, what),
            (audit.c.about, about),
        ):
            if value is not None:
                wanted = wanted.where(column == value)
        if since is not None:
            wanted = wanted.where(audit.c.at >= since)
        if until is not None:
            wanted = wanted.where(audit.c.at < until)
        if after is not None:
            wanted = wanted.where(audit.c.id < after)
        statement = wanted.order_by(audit.c.id.desc()).limit(limit)
        return await self._carrier.read(partial(_read, statement))


def note(connection: Connection, deed: Deed, *, at: float, outcome: str) -> None:
    """Write a row, inside of the transaction of what was done."""
    connection.execute(insert(audit).values(**deed._asdict(), at=at, outcome=outcome))


def _read(statement: Select[Any], connection: Connection) -> list[Audited]:
    return [Audited(*row) for row in connection.execute(statement)]
