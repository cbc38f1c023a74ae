"""Finding jobs: by id, or page by page by what they are.

A page costs a bounded amount of work: what is sought is looked for among so many jobs,
and where the search stopped is told. Plain functions over a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, Select, select, tuple_

from tunewatch.model import Selection
from tunewatch.plugin import JobRow
from tunewatch.store.overview import job_row, jobs_of_id, rows_of_jobs
from tunewatch.store.schema import job
from tunewatch.store.told import source_id_of

MOST_EXAMINED = 20_000
"""Jobs that one page looks at, at most: some hundred milliseconds."""
_CHUNK = 2_000

Decision: TypeAlias = Literal["final", "provisional", "none"]


class JobsWanted(Struct, frozen=True, kw_only=True):
    """What is sought; None and an empty mapping leave all jobs in."""

    source: str | None = None
    status: str | None = None  #: verbatim
    settled: bool | None = None
    model: str | None = None  #: of the base model: its name, or a glob
    suffix: str | None = None
    metadata: dict[str, str] = {}
    decision: Decision | None = None  #: about the best checkpoint
    created_since: int | None = None  #: unix seconds
    created_before: int | None = None
    finished_since: int | None = None
    finished_before: int | None = None


class Place(NamedTuple):
    """Where a job stands among all, newest first."""

    created_at: int
    key: int


class FoundJob(NamedTuple):
    """A job that was found."""

    key: int
    source: str
    row: JobRow
    removed: bool
    sequence: int  #: of its last event

    @property
    def place(self) -> Place:
        """Where it stands among all."""
        return Place(self.row.job.created_at or 0, self.key)


class JobPage(NamedTuple):
    """Some jobs of a list."""

    found: list[FoundJob]
    next: Place | None  #: where the list goes on; None at its end

    @property
    def rows(self) -> list[JobRow]:
        """The jobs as an overview shows them."""
        return [one.row for one in self.found]

    @property
    def has_more(self) -> bool:
        """Whether the list goes on."""
        return self.next is not None


class _Said(Struct, frozen=True):
    """What a job's view is asked for."""

    model: str | None = None
    suffix: str | None = None
    metadata: dict[str, str] | None = None


_said = msgspec.json.Decoder(_Said)
_selections = msgspec.json.Decoder(Selection)


def find(connection: Connection, job_id: str, name: str | None) -> list[FoundJob]:
    """See `reads.Reader.find`."""
    statement = jobs_of_id(connection, job_id, name).order_by(job.c.key)
    return [_found(row) for row in connection.execute(statement)]


def jobs(
    connection: Connection, wanted: JobsWanted, *, limit: int, after: Place | None
) -> JobPage:
    """See `reads.Reader.jobs`."""
    candidates = _candidates(connection, wanted)
    fits = _judge(wanted)
    keys: list[int] = []
    place, examined = after, 0
    chunk = limit + 1 if fits is _anything else _CHUNK
    while True:
        seen = connection.execute(_below(candidates, place).limit(chunk)).all()
        for row in seen:
            if fits(row):
                if len(keys) == limit:  # so there is one more: the page ends before it
                    return JobPage(_load(connection, keys), place)
                keys.append(row.key)
            place = Place(row.created_at, row.key)
        examined += len(seen)
        if len(seen) < chunk:
            return JobPage(_load(connection, keys), None)
        if examined >= MOST_EXAMINED:
            return JobPage(_load(connection, keys), place)


def _found(row: Row[Any]) -> FoundJob:
    return FoundJob(row.key, row.source, job_row(row), row.removed, row.sequence)


def _candidates(connection: Connection, wanted: JobsWanted) -> Select[Any]:
    """Return the question for all jobs that may fit, by what an index can answer."""
    columns = [job.c.key, job.c.created_at, job.c.status, job.c.settled, job.c.ended_at]
    if wanted.model or wanted.suffix or wanted.metadata:
        columns.append(job.c.view)
    if wanted.decision is not None:
        columns.append(job.c.selection)
    statement = select(*columns)
    created = job.c.created_at
    if wanted.source is not None:
        statement = statement.where(
            job.c.source_id == source_id_of(connection, wanted.source)
        )
    if wanted.created_since is not None:
        statement = statement.where(created >= wanted.created_since)
    if wanted.created_before is not None:
        statement = statement.where(created < wanted.created_before)
    if wanted.settled is False:
        # They are few and have an index of their own. Sorted by an expression, or
        # SQLite reads all jobs by age to spare itself the sorting.
        unsettled = statement.where(~job.c.settled)
        return unsettled.order_by((created + 0).desc(), job.c.key.desc())
    return statement.order_by(created.desc(), job.c.key.desc())


def _below(candidates: Select[Any], place: Place | None) -> Select[Any]:
    if place is None:
        return candidates
    return candidates.where(tuple_(job.c.created_at, job.c.key) < tuple(place))


def _anything(_row: Row[Any]) -> bool:
    return True


def _judge(wanted: JobsWanted) -> Callable[[Row[Any]], bool]:
    """Return the question whether a candidate fits."""
    checks: list[Callable[[Row[Any]], bool]] = []
    since, before = wanted.finished_since, wanted.finished_before
    if wanted.status is not None:
        checks.append(lambda row: row.status == wanted.status)
    if wanted.settled:
        checks.append(lambda row: row.settled)
    if since is not None:
        checks.append(lambda row: row.ended_at is not None and row.ended_at >= since)
    if before is not None:
        checks.append(lambda row: row.ended_at is not None and row.ended_at < before)
    if wanted.decision is not None:
        checks.append(lambda row: _decision(row.selection) == wanted.decision)
    if wanted.model or wanted.suffix or wanted.metadata:
        checks.append(lambda row: _is_of_family(_said.decode(row.view), wanted))
    if not checks:
        return _anything
    return lambda row: all(check(row) for check in checks)


def _decision(selection: bytes | None) -> str:
    if not selection:
        return "none"
    said = _selections.decode(selection).data.get("decision")
    return said if said in {"final", "provisional"} else "none"


def _is_of_family(said: _Said, wanted: JobsWanted) -> bool:
    return (
        (wanted.model is None or fnmatchcase(said.model or "", wanted.model))
        and (wanted.suffix is None or said.suffix == wanted.suffix)
        and wanted.metadata.items() <= (said.metadata or {}).items()
    )


def _load(connection: Connection, keys: Sequence[int]) -> list[FoundJob]:
    if not keys:
        return []
    rows = connection.execute(rows_of_jobs().where(job.c.key.in_(keys)))
    found = {row.key: _found(row) for row in rows}
    return [found[key] for key in keys]
