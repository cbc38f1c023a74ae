"""The state before: fences, jobs and known entries, in as few questions as can be.

Looks of many sources are asked for at once. On PostgreSQL a few looks cost one round
trip less if entries are asked for, too; for many, and on SQLite where asking is cheap,
these are looked up by themselves. Knows how a job is kept; what an observation changes
in it is decided elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec
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
    bindparam,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import sqlite

from tunewatch.diff import JobState
from tunewatch.store.leases import Holder, lost
from tunewatch.store.records import Fence
from tunewatch.store.schema import entry, job, lease, source
from tunewatch.store.statements import fetch, known_pairs
from tunewatch.store.wording import marks

_FEW = 8
"""Jobs up to which entries are compared with each of them."""

_states = msgspec.json.Decoder(JobState)


class Wanted(NamedTuple):
    """What is asked for: a job of a source, and which of its entries are known."""

    held: Fence
    job_id: str
    entries: frozenset[str]


class Kept(NamedTuple):
    """A job's row before an observation."""

    key: int
    id: str
    raw: bytes
    state: JobState
    status: str
    ended_at: int | None
    term: int
    look: int
    revision: int
    sequence: int
    known: frozenset[str]  #: of the observation's entries


class Before(NamedTuple):
    """What there is of a job that was asked for."""

    holder: Holder
    kept: Kept | None  #: None: its source has no such job


def state_before(connection: Connection, wanted: Sequence[Wanted]) -> dict[str, Before]:
    """Prove the leases; return what is kept by job id, jobs locked by key.

    No job id may be wanted twice. Raises LeaseLost.
    """
    asks_known = connection.dialect.name == "postgresql" and len(wanted) <= _FEW
    if connection.dialect.name == "sqlite":
        rows: Sequence[Any] = connection.exec_driver_sql(
            _sqlite_words(len(wanted)),
            tuple(chain.from_iterable((*one.held, one.job_id) for one in wanted)),
        ).all()
    else:
        rows = _fetched(connection, wanted, asks_known=asks_known)
    found = {row[0]: _before(row[1:]) for row in rows}
    for one in wanted:
        if one.job_id not in found:
            raise lost(one.held)
    return found if asks_known else _with_known(connection, found, wanted)


def _before(values: Any) -> Before:
    width = len(Holder._fields)
    holder, values = Holder._make(values[:width]), values[width:]
    if not values[0]:
        return Before(holder, None)
    kept = Kept._make((*values, ())[: len(Kept._fields)])
    return Before(
        holder,
        kept._replace(
            state=_states.decode(kept.state),  # type: ignore[arg-type]
            known=frozenset(kept.known or ()),
        ),
    )


def _with_known(
    connection: Connection, found: dict[str, Before], wanted: Sequence[Wanted]
) -> dict[str, Before]:
    entries = {
        kept.key: set(one.entries)
        for one in wanted
        if (kept := found[one.job_id].kept) is not None
    }
    known: defaultdict[int, set[str]] = defaultdict(set)
    for key, one_known in known_pairs(connection, entry, "id", entries):
        known[key].add(one_known)
    return {
        job_id: Before(
            holder, kept and kept._replace(known=frozenset(known.get(kept.key, ())))
        )
        for job_id, (holder, kept) in found.items()
    }


def _fetched(
    connection: Connection, wanted: Sequence[Wanted], *, asks_known: bool
) -> list[Any]:
    compiled = _postgres_words(connection.dialect, asks_known=asks_known)
    pairs = [(one.job_id, known) for one in wanted for known in one.entries]
    values = {
        "sources": [one.held.source_id for one in wanted],
        "tokens": [one.held.token for one in wanted],
        "ids": [one.job_id for one in wanted],
        "owners": [job_id for job_id, _ in pairs],
        "entries": [known for _, known in pairs],
    }
    order = compiled.positiontup or ()  # type: ignore[attr-defined]
    return fetch(connection, str(compiled), [values[name] for name in order])


@lru_cache(maxsize=4)
def _postgres_words(dialect: Dialect, *, asks_known: bool) -> Compiled:
    wanted = (
        func.unnest(
            bindparam("sources", type_=ARRAY(BigInteger)),
            bindparam("tokens", type_=ARRAY(BigInteger)),
            bindparam("ids", type_=ARRAY(Text)),
        )
        .table_valued("source_id", "token", "job_id")
        .render_derived(name="wanted")
    )
    return _question(wanted, asks_known=asks_known).compile(dialect=dialect)


@lru_cache(maxsize=256)
def _sqlite_words(count: int) -> str:
    names = "column1 AS source_id, column2 AS token, column3 AS job_id"
    values = text(f"SELECT {names} FROM (VALUES {marks(count, 3)})")  # noqa: S608 - ours
    wanted = values.columns(source_id=Integer, token=Integer, job_id=Text).cte("wanted")
    return str(_question(wanted).compile(dialect=sqlite.dialect()))


def _question(wanted: FromClause, *, asks_known: bool = False) -> Select[Any]:
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
    if asks_known:
        said.append(_known_of(own).scalar_subquery())
    return select(*said).select_from(held.outerjoin(own, own.c.id == held.c.job_id))


def _known_of(own: FromClause) -> Select[Any]:
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
