"""The state before: fences, jobs and known entries of what was observed.

Knows how a job is kept, and not how it is asked for; what an observation changes in it
is decided elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from tunewatch.diff import JobState
from tunewatch.store.kept import state_of
from tunewatch.store.known_pairs import known_pairs
from tunewatch.store.leases import Holder, lost
from tunewatch.store.schema import entry
from tunewatch.store.wanted import Wanted, rows_before


class Kept(NamedTuple):
    """A job's row before an observation."""

    key: int
    id: str
    raw: bytes
    view: bytes
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
    rows, has_known = rows_before(connection, wanted)
    found = {row[0]: _before(row[1:]) for row in rows}
    for one in wanted:
        if one.job_id not in found:
            raise lost(one.held)
    return found if has_known else _with_known(connection, found, wanted)


def _before(values: Any) -> Before:
    width = len(Holder._fields)
    holder, values = Holder._make(values[:width]), values[width:]
    if not values[0]:
        return Before(holder, None)
    kept = Kept._make((*values, ())[: len(Kept._fields)])
    return Before(
        holder,
        kept._replace(
            state=state_of(kept.state),  # type: ignore[arg-type]
            known=frozenset(kept.known or ()),
        ),
    )


def _with_known(
    connection: Connection, found: dict[str, Before], wanted: Sequence[Wanted]
) -> dict[str, Before]:
    entries = {
        kept.key: one.entries
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
