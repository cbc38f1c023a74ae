"""How the state before is asked for: fences, jobs and known entries in one question.

Looks of many sources are asked for at once. On PostgreSQL a few looks cost one round
trip less if entries are asked for, too; for many, and on SQLite where asking is cheap,
these are looked up by themselves. Knows rows, and nothing of what is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Compiled,
    Connection,
    Dialect,
    FromClause,
    Integer,
    Select,
    Text,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import sqlite

from tunewatch.store.records import Fence
from tunewatch.store.schema import entry, job, lease, source
from tunewatch.store.statements import fetch, padded
from tunewatch.store.wording import marks

_FEW = 8
"""Jobs up to which entries are compared with each of them."""


class Wanted(NamedTuple):
    """What is asked for: a job of a source, and which of its entries are known."""

    held: Fence
    job_id: str
    entries: frozenset[str]


class Answer(NamedTuple):
    """What was found."""

    rows: Sequence[Any]
    """The job's id, its source's `Holder`, the job's row or nulls; without a row the
    fence does not hold."""
    has_known: bool  #: whether the known entries come last in each


def rows_before(connection: Connection, wanted: Sequence[Wanted]) -> Answer:
    """Ask for what is wanted, and lock it: leases, and jobs by key."""
    if connection.dialect.name != "sqlite":
        asks_known = len(wanted) <= _FEW
        return Answer(_fetched(connection, wanted, asks_known=asks_known), asks_known)
    many = padded(wanted)
    values = chain.from_iterable((*one.held, one.job_id) for one in many)
    return Answer(fetch(connection, _sqlite_words(len(many)), list(values)), False)


def _fetched(
    connection: Connection, wanted: Sequence[Wanted], *, asks_known: bool
) -> list[Any]:
    is_lone = len(wanted) == 1
    compiled = _postgres_words(
        connection.dialect, is_lone=is_lone, asks_known=asks_known
    )
    pairs = [(one.job_id, known) for one in wanted for known in one.entries]
    values = {
        "source": wanted[0].held.source_id,
        "token": wanted[0].held.token,
        "id": wanted[0].job_id,
        "sources": [one.held.source_id for one in wanted],
        "tokens": [one.held.token for one in wanted],
        "ids": [one.job_id for one in wanted],
        "owners": [job_id for job_id, _ in pairs],
        "entries": [known for _, known in pairs],
    }
    order = compiled.positiontup or ()  # type: ignore[attr-defined]
    return fetch(connection, str(compiled), [values[name] for name in order])


@lru_cache(maxsize=4)
def _postgres_words(dialect: Dialect, *, is_lone: bool, asks_known: bool) -> Compiled:
    # A lone look is the usual one, and by arrays its planning costs a tenth of it.
    wanted = _one_wanted() if is_lone else _many_wanted()
    known = (_known_of_one if is_lone else _known_of_many) if asks_known else None
    return _question(wanted, known).compile(dialect=dialect)


def _one_wanted() -> FromClause:
    return select(
        bindparam("source", type_=BigInteger).label("source_id"),
        bindparam("token", type_=BigInteger).label("token"),
        bindparam("id", type_=Text).label("job_id"),
    ).subquery("wanted")


def _many_wanted() -> FromClause:
    return (
        func.unnest(
            bindparam("sources", type_=ARRAY(BigInteger)),
            bindparam("tokens", type_=ARRAY(BigInteger)),
            bindparam("ids", type_=ARRAY(Text)),
        )
        .table_valued("source_id", "token", "job_id")
        .render_derived(name="wanted")
    )


def _known_of_one(own: FromClause) -> Select[Any]:
    ids = bindparam("entries", type_=ARRAY(Text))
    return select(func.array_agg(entry.c.id)).where(
        entry.c.job_key == own.c.key, entry.c.id == any_(ids)
    )


def _known_of_many(own: FromClause) -> Select[Any]:
    pairs = (
        func.unnest(
            bindparam("owners", type_=ARRAY(Text)),
            bindparam("entries", type_=ARRAY(Text)),
        )
        .table_valued("owner", "entry")
        .render_derived(name="asked")
    )
    return (
        select(func.array_agg(entry.c.id))
        .select_from(pairs.join(entry, entry.c.id == pairs.c.entry))
        .where(pairs.c.owner == own.c.id, entry.c.job_key == own.c.key)
    )


@lru_cache(maxsize=64)
def _sqlite_words(count: int) -> str:
    names = "column1 AS source_id, column2 AS token, column3 AS job_id"
    values = text(f"SELECT {names} FROM (VALUES {marks(count, 3)})")  # noqa: S608 - ours
    wanted = values.columns(source_id=Integer, token=Integer, job_id=Text).cte("wanted")
    return str(_question(wanted).compile(dialect=sqlite.dialect()))


def _question(
    wanted: FromClause, known: Callable[[FromClause], Select[Any]] | None = None
) -> Select[Any]:
    """Return the question for what is wanted: a table of source, token and job."""
    held = (
        select(
            wanted.c.job_id,
            source.c.name,
            source.c.realm,
            source.c.first_contact_at,
            source.c.id.label("source_id"),
        )
        .select_from(wanted)
        .join(
            lease,
            (lease.c.source_id == wanted.c.source_id)
            & (lease.c.token == wanted.c.token),
        )
        .join(source, source.c.id == lease.c.source_id)
        # Holds off a takeover, not a renewal and not another writer of a source.
        .with_for_update(read=True, key_share=True, of=lease)
        .cte("held")
    )
    own = (
        select(
            job.c.key,
            job.c.id,
            job.c.raw,
            job.c.view,
            job.c.state,
            job.c.status,
            job.c.ended_at,
            job.c.term,
            job.c.look,
            job.c.revision,
            job.c.sequence,
        )
        .select_from(held)
        .join(
            job,
            (job.c.realm == held.c.realm)
            & (job.c.id == held.c.job_id)
            # The plus keeps SQLite off the index by source and age: it would rather go
            # through every job that the source ever had.
            & (literal_column("+job.source_id", Integer) == held.c.source_id),
        )
        .order_by(job.c.key)
        .with_for_update(of=job)
        .cte("own")
    )
    said: list[Any] = [
        held.c.job_id,
        held.c.name,
        held.c.realm,
        held.c.first_contact_at,
        own,
    ]
    if known is not None:
        said.append(known(own).scalar_subquery())
    return select(*said).select_from(held.outerjoin(own, own.c.id == held.c.job_id))
