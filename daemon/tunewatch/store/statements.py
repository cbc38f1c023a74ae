"""Many rows in few statements, each written once per engine and kept.

SQLite takes lists of tuples fastest. PostgreSQL takes arrays, and all writes of a
transaction as one statement: what costs there is the round trip. Knows tables only as
names and types, and the event table as the one that is numbered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.util import await_only

from tunewatch.store import wording
from tunewatch.store.schema import event

Row = tuple[Any, ...]
T = TypeVar("T")


class Appended(NamedTuple):
    """Where events went."""

    last: int  #: position of the last, 0 if there were none
    written: int  #: how many were not there already


class Question(NamedTuple):
    """What is asked together with the writes, in words of PostgreSQL."""

    sql: Callable[[int], str]  #: from the number of the first parameter
    values: Sequence[Any]


class _Write(NamedTuple):
    """A write in the words of PostgreSQL and of SQLite."""

    words: Callable[[int, str, bool], str]
    """From the first parameter on, under a condition, of one row or of many."""
    sqlite: str
    rows: list[Row]


class Proof(NamedTuple):
    """What must find its row, or nothing is written (PostgreSQL)."""

    sql: str
    otherwise: Exception  #: raised if it finds none


class Batch:
    """The writes of a transaction, run together at its end.

    No row may be written by two of them: on PostgreSQL they are one statement.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._writes: list[_Write] = []

    def insert(
        self,
        table: Table,
        columns: tuple[str, ...],
        rows: list[Row],
        *,
        conflict: str = "",
    ) -> None:
        """Insert rows, values in the order of columns. `conflict` is ON CONFLICT …."""
        if rows:
            self._writes.append(
                _Write(
                    partial(wording.insert_rows, table, columns, conflict),
                    wording.insert_values(table, columns, conflict),
                    rows,
                )
            )

    def update(
        self,
        table: Table,
        columns: tuple[str, ...],
        keys: tuple[str, ...],
        rows: list[Row],
    ) -> None:
        """Set columns of rows found by their keys, which are a row's last values."""
        if rows:
            self._writes.append(
                _Write(
                    partial(wording.update_rows, table, columns, keys),
                    wording.update_values(table, columns, keys),
                    rows,
                )
            )

    def write(self, events: Sequence[Row] = ()) -> Appended:
        """Run the writes, last the position and the events (see `wording.EVENT`).

        An event whose id is there already is left out. Raises IntegrityError where an
        insert without `conflict` meets one.
        """
        writes, self._writes = self._writes, []
        if self._connection.dialect.name == "sqlite":
            return _one_by_one(self._connection, writes, events)
        if not writes and not events:
            return Appended(0, 0)
        return _at_once(self._connection, writes, events)

    def write_and_ask(self, question: Question, proof: Proof | None) -> list[Row]:
        """Run the writes and return the rows that the question finds.

        PostgreSQL only, where it saves a round trip. The question sees nothing of the
        writes; what the proof locks is locked before them. Raises what the proof says.
        """
        writes, self._writes = self._writes, []
        parts, values = _parts(writes, "EXISTS (SELECT FROM proof)" if proof else "")
        first = f"proof AS ({'SELECT 1' if proof is None else proof.sql})"
        sql = (
            f"WITH {', '.join([first, *parts])}"  # noqa: S608 - our names
            " SELECT p.found, q.* FROM (SELECT count(*) AS found FROM proof) p"
            f" LEFT JOIN ({question.sql(len(values) + 1)}) q ON true"
        )
        rows = fetch(self._connection, sql, [*values, *question.values])
        if proof is not None and rows[0][0] != 1:
            raise proof.otherwise
        return [tuple(row)[1:] for row in rows if row[1] is not None]


def _parts(writes: Iterable[_Write], only_if: str = "") -> tuple[list[str], list[Any]]:
    """Return the writes as parts of one statement, and its parameters."""
    parts: list[str] = []
    values: list[Any] = []
    for number, write in enumerate(writes):
        words = write.words(len(values) + 1, only_if, len(write.rows) == 1)
        parts.append(f"w{number} AS ({words})")
        values += _given(write.rows)
    return parts, values


def _one_by_one(
    connection: Connection, writes: Sequence[_Write], events: Sequence[Row]
) -> Appended:
    for write in writes:
        connection.exec_driver_sql(write.sqlite, write.rows)
    if not events:
        return Appended(0, 0)
    advanced = connection.exec_driver_sql(
        "UPDATE position SET value = value + ? WHERE id = 1 RETURNING value",
        (len(events),),
    )
    last: int = advanced.scalar_one()
    first = last - len(events) + 1
    rows = [(at, *row) for at, row in enumerate(events, first)]
    sql = wording.insert_values(
        event, ("position", *wording.EVENT), "ON CONFLICT (id) DO NOTHING"
    )
    return Appended(last, connection.exec_driver_sql(sql, rows).rowcount)


def _at_once(
    connection: Connection, writes: Sequence[_Write], events: Sequence[Row]
) -> Appended:
    parts, values = _parts(writes)
    if events:
        parts.append(wording.advance(len(values) + 1))
        parts.append(wording.append(len(values) + 1, len(events) == 1))
        values += [len(events), *_given(events)]
        answer = "SELECT value, (SELECT count(*) FROM appended) FROM advanced"
    else:
        answer = "SELECT 0, 0"
    [row] = fetch(connection, f"WITH {', '.join(parts)} {answer}", values)
    return Appended(row[0], row[1])


def fetch(connection: Connection, sql: str, values: Sequence[Any]) -> list[Any]:
    """Ask in the words of the engine, and return the rows as its driver makes them.

    On PostgreSQL the driver itself is asked: a third of a small commit went into the
    layers above it.
    """
    rows: list[Any]
    if connection.dialect.name == "sqlite":
        with connection.exec_driver_sql(sql, tuple(values)) as result:
            assert result.cursor is not None  # noqa: S101 - it was asked for rows
            rows = list(result.cursor.fetchall())
        return rows
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - it is in use
    rows = await_only(driver.fetch(sql, *values))
    return rows


def execute(connection: Connection, sql: str) -> str:
    """Run SQL by asyncpg's simple protocol (PostgreSQL only); return the last tag.

    One round trip, even for several statements. It takes no values: only ours go in.
    """
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - it is in use
    tag: str = await_only(driver.execute(sql))
    return tag


def _given(rows: Sequence[Row]) -> Sequence[Any]:
    """Return rows as parameters: see `wording._given`."""
    return rows[0] if len(rows) == 1 else columns_of(rows)


def columns_of(rows: Sequence[Row]) -> list[list[Any]]:
    """Return the values of rows by column, as PostgreSQL takes them."""
    return [list(values) for values in zip(*rows, strict=True)]


def padded(rows: Sequence[T]) -> Sequence[T]:
    """Return rows with the last one repeated, by a fifth of them at most.

    For what may be asked twice: SQLite makes and keeps a program for each number.
    """
    step = 1 << max(0, (len(rows) - 1).bit_length() - 3)
    return [*rows, *list(rows[-1:]) * (-len(rows) % step)]
