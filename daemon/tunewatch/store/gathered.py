"""Some jobs of /metrics, read as one row: their views as one text, and so on.

A row for each would cost the drivers more than all else of reading, and SQLite's would
wait for the interpreter's lock at each. Plain functions over a connection; writes
nothing, and decodes nothing of a job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw
from sqlalchemy import Connection, select

from tunewatch.store.schema import source
from tunewatch.store.statements import fetch

_NONE = b"null"
_TOGETHER = 64  # jobs at most in a row of PostgreSQL's answer
_lists = msgspec.json.Decoder(list[Any])
_bodies = msgspec.json.Decoder(list[Raw])


class Named(NamedTuple):
    """What a job needs of its source."""

    name: str
    first_contact_at: float


class Stored(NamedTuple):
    """A job by itself, as `overview.job_row` takes it."""

    key: int
    source: str
    first_contact_at: float
    realm: str
    revision: int
    sequence: int
    view: bytes
    state: bytes
    selection: bytes | None


class Gathered(NamedTuple):
    """Some jobs in any order, each at the same place of every column."""

    keys: Sequence[int]
    sources: Sequence[Named]
    realms: Sequence[str]
    revisions: Sequence[int]
    sequences: Sequence[int]
    views: bytes  #: a JSON array, as are the others
    states: bytes
    selections: bytes  #: with null for a job that has none

    def apart(self) -> Iterator[Gathered]:
        """Yield each job by itself."""
        for one in self._each():
            values, bodies = one[:5], one[5:]
            listed: Any = [[value] for value in values]
            yield Gathered(*listed, *[b"[%b]" % body for body in bodies])

    def stored(self) -> Iterator[Stored]:
        """Yield each job as a row."""
        for key, named, realm, revision, sequence, *bodies in self._each():
            view, state, said = bodies
            yield Stored(
                key=key,
                source=named.name,
                first_contact_at=named.first_contact_at,
                realm=realm,
                revision=revision,
                sequence=sequence,
                view=view,
                state=state,
                selection=None if said == _NONE else said,
            )

    def _each(self) -> Iterator[tuple[Any, ...]]:
        *values, views, states, selections = self
        bodies = [
            map(bytes, _bodies.decode(column)) for column in (views, states, selections)
        ]
        return zip(*values, *bodies, strict=True)


class Counted(NamedTuple):
    """Some jobs, and no more of them than what they are counted by."""

    sources: Sequence[Named]
    views: bytes  #: a JSON array


class Columns(NamedTuple):
    """What is read of jobs."""

    values: tuple[str, ...]
    bodies: tuple[str, ...]


_SOURCE = "source_id"
SHOWN = Columns(
    ("key", _SOURCE, "realm", "revision", "sequence"),
    ("view", "state", "selection"),
)
COUNTED = Columns((_SOURCE,), ("view",))


class Found(NamedTuple):
    """What the driver answered, to be taken apart in a thread, once."""

    columns: Columns
    rows: list[Any]  #: each of some jobs
    are_json: bool  #: also the lists of values, as SQLite has no others

    def groups(self, known: Mapping[int, Named]) -> Iterator[list[Any]]:
        """Yield the columns of each row: lists of values, JSON arrays of bodies.

        Ids of sources are sources then.
        """
        count = len(self.columns.values)
        while self.rows:
            # Let go of at once: as text and as jobs they would take twice the memory.
            row = self.rows.pop()
            values, bodies = list(row[:count]), row[count:]
            if self.are_json:
                values = list(map(_lists.decode, values))
            yield self._with_sources(
                values, [b"[%b]" % (body or b"") for body in bodies], known
            )

    def _with_sources(
        self, values: list[Any], bodies: list[bytes], known: Mapping[int, Named]
    ) -> list[Any]:
        place = self.columns.values.index(_SOURCE)
        values[place] = named = [known.get(one) for one in values[place]]
        if None in named:
            # Passed on to a source that is newer than the window: the next one has it.
            stay = [one is not None for one in named]
            values = [list(compress(column, stay)) for column in values]
            apart = [compress(_bodies.decode(column), stay) for column in bodies]
            bodies = [b"[%b]" % b",".join(map(bytes, some)) for some in apart]
        return [*values, *bodies]


def sources(connection: Connection) -> dict[int, Named]:
    """Return every source by its id: there are few, and a join has its price."""
    every = select(source.c.id, source.c.name, source.c.first_contact_at)
    return {key: Named(*of) for key, *of in connection.execute(every)}


def found(connection: Connection, columns: Columns, keys: list[int]) -> Found:
    """Read jobs; one that is gone is left out."""
    if connection.dialect.name == "sqlite":
        given = msgspec.json.encode(keys).decode()
        rows = fetch(connection, _on_sqlite(columns), [given])
        return Found(columns, rows, are_json=True)
    rows = fetch(connection, _on_postgresql(columns), [keys])
    return Found(columns, rows, are_json=False)


def gathered(answer: Found, known: Mapping[int, Named]) -> Iterator[Gathered]:
    """Yield what was found of `SHOWN`, some jobs at a time."""
    return (Gathered(*group) for group in answer.groups(known))


def counted(answer: Found, known: Mapping[int, Named]) -> Iterator[Counted]:
    """Yield what was found of `COUNTED`, some jobs at a time."""
    return (Counted(*group) for group in answer.groups(known))


# All columns of a row are gathered in one pass, so that their places agree.


@lru_cache
def _on_sqlite(columns: Columns) -> str:
    asked = [f"json_group_array({name})" for name in columns.values]
    asked += [
        f"CAST(group_concat(coalesce({name}, 'null')) AS BLOB)"
        for name in columns.bodies
    ]
    among = "key IN (SELECT value FROM json_each(?))"
    return f"SELECT {', '.join(asked)} FROM job WHERE {among}"  # noqa: S608


@lru_cache
def _on_postgresql(columns: Columns) -> str:
    asked = [f"array_agg({name})" for name in columns.values]
    asked += [f"string_agg(coalesce({name}, 'null'), ',')" for name in columns.bodies]
    # Texts of some hundred kilobytes would cost the server half as much again.
    return (
        f"SELECT {', '.join(asked)} FROM job"  # noqa: S608
        f" WHERE key = ANY ($1::bigint[]) GROUP BY key / {_TOGETHER}"
    )
