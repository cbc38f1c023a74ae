"""The state before: fence, jobs and known entries, in as few questions as can be.

On PostgreSQL a lone look costs one round trip less if all three are one question; for
many looks, and on SQLite where asking is cheap, entries are looked up by themselves.
Knows how a job is kept; what an observation changes in it is decided elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ARRAY,
    Compiled,
    Connection,
    Dialect,
    Integer,
    Select,
    Text,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    true,
)

from tunewatch.diff import JobState
from tunewatch.store.leases import Holder, fenced, lost
from tunewatch.store.records import Fence
from tunewatch.store.schema import entry, job
from tunewatch.store.statements import fetch, known_pairs

_FEW = 8
"""Jobs up to which entries are compared with each of them."""

_states = msgspec.json.Decoder(JobState)


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


_held = fenced.cte("held")
_of_jobs = (
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
    .where(
        job.c.realm == select(_held.c.realm).scalar_subquery(),
        # The plus keeps SQLite off the index by source and age: with a few ids it would
        # rather go through every job that the source ever had.
        literal_column("+job.source_id", Integer) == bindparam("source_id"),
    )
    .order_by(job.c.key)
    .with_for_update()
)
_own = _of_jobs.where(job.c.id.in_(bindparam("ids", expanding=True))).cte("own")
# Without the fence there is no row at all.
_held_and_own = select(_held, _own).select_from(_held.outerjoin(_own, true()))


def state_before(
    connection: Connection, held: Fence, wanted: Mapping[str, Iterable[str]]
) -> tuple[Holder, dict[str, Kept]]:
    """Prove the lease; return the source's rows of jobs by id, locked by key.

    `wanted` are the ids of entries by job id; those known come with the row. Raises
    LeaseLost.
    """
    entries = {job_id: set(ids) for job_id, ids in wanted.items()}
    if connection.dialect.name == "postgresql" and len(entries) <= _FEW:
        found: Sequence[Any] = _at_once(connection, held, entries)
    else:
        found = connection.execute(
            _held_and_own,
            {
                "ids": list(entries),
                "source_id": held.source_id,
                "token": held.token,
            },
        ).all()
    if not found:
        raise lost(held)
    width = len(Holder._fields)
    kept = {row[width + 1]: _kept(row[width:]) for row in found if row[width]}
    if len(found[0]) == width + len(Kept._fields):
        return Holder._make(found[0][:width]), kept
    return Holder._make(found[0][:width]), _with_known(connection, kept, entries)


def _kept(values: Any) -> Kept:
    kept = Kept._make((*values, ())[: len(Kept._fields)])
    return kept._replace(
        state=_states.decode(values[3]), known=frozenset(kept.known or ())
    )


def _with_known(
    connection: Connection, kept: dict[str, Kept], entries: dict[str, set[str]]
) -> dict[str, Kept]:
    known: defaultdict[int, set[str]] = defaultdict(set)
    wanted = {row.key: entries[job_id] for job_id, row in kept.items()}
    for key, one in known_pairs(connection, entry, "id", wanted):
        known[key].add(one)
    return {
        job_id: row._replace(known=frozenset(known.get(row.key, ())))
        for job_id, row in kept.items()
    }


def _at_once(
    connection: Connection, held: Fence, entries: dict[str, set[str]]
) -> list[Any]:
    compiled = _compiled(connection.dialect)
    pairs = [(job_id, one) for job_id, ids in entries.items() for one in ids]
    values = {
        "ids": list(entries),
        "source_id": held.source_id,
        "token": held.token,
        "owners": [job_id for job_id, _ in pairs],
        "entries": [one for _, one in pairs],
    }
    order = compiled.positiontup or ()  # type: ignore[attr-defined]
    return fetch(connection, str(compiled), [values[name] for name in order])


@lru_cache(maxsize=2)
def _compiled(dialect: Dialect) -> Compiled:
    return _question().compile(dialect=dialect)


def _question() -> Select[Any]:
    ids = bindparam("ids", type_=ARRAY(Text))
    own = _of_jobs.where(job.c.id == any_(ids)).cte("own")
    wanted = (
        func.unnest(
            bindparam("owners", type_=ARRAY(Text)),
            bindparam("entries", type_=ARRAY(Text)),
        )
        .table_valued("owner", "entry")
        .render_derived(name="wanted")
    )
    known = (
        select(func.array_agg(entry.c.id))
        .select_from(wanted.join(entry, entry.c.id == wanted.c.entry))
        .where(wanted.c.owner == own.c.id, entry.c.job_key == own.c.key)
        .scalar_subquery()
    )
    held_and_own = _held.outerjoin(own, true())
    return select(_held, own, known).select_from(held_and_own)
