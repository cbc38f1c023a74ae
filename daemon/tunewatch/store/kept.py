"""The rows of jobs: written for many jobs at once, and whose they are.

Knows how a job is kept; what changes in it is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, insert, select

from tunewatch.diff import JobState
from tunewatch.model import Job
from tunewatch.store.schema import job, source, tombstone
from tunewatch.store.statements import Batch, Row, padded

_encode = msgspec.json.encode
view_of = msgspec.json.Decoder(Job).decode
"""Returns the job of a row's `view`."""
state_of = msgspec.json.Decoder(JobState).decode
"""Returns the state of a row's `state`."""
_MADE_AT_ONCE = 20
"""Rows in one INSERT: SQLite keeps a program for each number, of 1.7 KiB a row."""


class Changed(NamedTuple):
    """A job's row after an observation that stored something."""

    raw: bytes | None  #: None: of the job itself nothing was said, it is as it was
    job: Job
    state: JobState
    ended_at: int | None
    term: int
    look: int
    revision: int
    sequence: int


_foreign = (
    select(job.c.id, source.c.name)
    .join(source, source.c.id == job.c.source_id)
    .where(
        job.c.realm == bindparam("realm"),
        job.c.id.in_(bindparam("ids", expanding=True)),
        job.c.source_id != bindparam("source_id"),
    )
)
_buried = select(tombstone.c.id).where(
    tombstone.c.realm == bindparam("realm"),
    tombstone.c.id.in_(bindparam("ids", expanding=True)),
)
_OURS = (
    "state",
    "ended_at",
    "settled",
    "removed",
    "term",
    "look",
    "revision",
    "sequence",
)
_made = (
    insert(job)
    .returning(job.c.id, job.c.key)
    .execution_options(insertmanyvalues_page_size=_MADE_AT_ONCE)
)
_SAID = ("raw", "view", "status", "created_at", "metadata")
"""What the provider says of a job."""


def foreign_jobs(
    connection: Connection, source_id: int, realm: str, ids: Sequence[str]
) -> dict[str, str]:
    """Return the names of the sources that own jobs which are not ours, by job id."""
    found = connection.execute(
        _foreign, {"realm": realm, "ids": padded(ids), "source_id": source_id}
    )
    return {row.id: row.name for row in found}


def buried_jobs(connection: Connection, realm: str, ids: Sequence[str]) -> set[str]:
    """Return which jobs retention has purged."""
    found = connection.execute(_buried, {"realm": realm, "ids": padded(ids)})
    return set(found.scalars())


def insert_jobs(
    connection: Connection, new: Sequence[tuple[int, str, str, Changed]]
) -> dict[str, int]:
    """Insert jobs, each after its source, realm and id; return their keys by id.

    Raises IntegrityError.
    """
    values = [
        {
            "source_id": source_id,
            "realm": realm,
            "id": job_id,
            **dict(zip(_SAID + _OURS, (*_said(row), *_ours(row)), strict=True)),
        }
        for source_id, realm, job_id, row in new
    ]
    made = connection.execute(_made, values)
    return {row.id: row.key for row in made}


def update_jobs(batch: Batch, rows: Mapping[int, Changed]) -> None:
    """Write changed rows by key."""
    said: list[Row] = []
    as_before: list[Row] = []
    for key, row in sorted(rows.items()):
        if row.raw is None:
            as_before.append((*_ours(row), key))
        else:
            said.append((*_said(row), *_ours(row), key))
    batch.update(job, _SAID + _OURS, ("key",), said)
    batch.update(job, _OURS, ("key",), as_before)


def note_looks(batch: Batch, looks: Mapping[int, tuple[int, int]]) -> None:
    """Write the terms and counters of looks that changed nothing, by key."""
    values: list[Row] = [(*looks[key], key) for key in sorted(looks)]
    batch.update(job, ("term", "look"), ("key",), values)


def _said(row: Changed) -> Row:
    now = row.job
    return row.raw, _encode(now), now.status, now.created_at or 0, metadata_of(now)


def _ours(row: Changed) -> Row:
    return (
        _encode(row.state),
        row.ended_at,
        row.state.settled,
        row.state.removed,
        row.term,
        row.look,
        row.revision,
        row.sequence,
    )


def metadata_of(now: Job) -> bytes | None:
    """Return a job's metadata as subscriptions read it."""
    return _encode(now.metadata) if now.metadata else None
