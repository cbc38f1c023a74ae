"""The words of statements over many rows, each put together once and kept.

Every name in them is one of ours, from the schema; values are always parameters.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Table

from tunewatch.store.schema import event

EVENT = (
    "id",
    "source_id",
    "job_key",
    "type",
    "sequence",
    "observed_at",
    "derived",
    "body",
)
"""Columns of an event before it has its position."""


@lru_cache(maxsize=64)
def insert_values(table: Table, columns: tuple[str, ...], conflict: str) -> str:
    """Return an INSERT of one row, by question marks."""
    marks = ", ".join("?" * len(columns))
    return f"{_insert_head(table, columns)} VALUES ({marks}) {conflict}"


@lru_cache(maxsize=256)
def insert_rows(  # noqa: PLR0917 - all that makes it another statement
    table: Table,
    columns: tuple[str, ...],
    conflict: str,
    first: int,
    only_if: str,
    is_one: bool,
) -> str:
    """Return an INSERT of rows from a parameter's number on, see `_given`.

    `only_if` is a condition for all of them, or empty.
    """
    rows = _given(table, columns, first, is_one=is_one)
    where = f"WHERE {only_if} " if only_if else ""
    head = _insert_head(table, columns)
    return f"{head} SELECT * FROM {rows} {where}{conflict}"  # noqa: S608 - our names


def _insert_head(table: Table, columns: tuple[str, ...]) -> str:
    names = ", ".join(map(_quoted, columns))
    return f"INSERT INTO {_quoted(table.name)} ({names})"


@lru_cache(maxsize=64)
def update_values(table: Table, columns: tuple[str, ...], keys: tuple[str, ...]) -> str:
    """Return an UPDATE of one row, by question marks."""
    values = ", ".join(f"{_quoted(column)} = ?" for column in columns)
    where = " AND ".join(f"{_quoted(key)} = ?" for key in keys)
    head = f"UPDATE {_quoted(table.name)} SET"
    return f"{head} {values} WHERE {where}"


@lru_cache(maxsize=256)
def update_rows(  # noqa: PLR0917 - all that makes it another statement
    table: Table,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    first: int,
    only_if: str,
    is_one: bool,
) -> str:
    """Return an UPDATE of rows from a parameter's number on, see `_given`.

    `only_if` is a condition for all of them, or empty.
    """
    values = ", ".join(f"{_quoted(column)} = v.{_quoted(column)}" for column in columns)
    same = [f"t.{_quoted(key)} = v.{_quoted(key)}" for key in keys]
    where = " AND ".join([*same, only_if] if only_if else same)
    rows = _given(table, (*columns, *keys), first, is_one=is_one)
    head = f"UPDATE {_quoted(table.name)} AS t SET"
    return f"{head} {values} FROM {rows} WHERE {where}"


@lru_cache(maxsize=256)
def advance(number: int) -> str:
    """Return the part that moves the position by a parameter."""
    head, by = "advanced AS (UPDATE position SET value = value", f"${number}::bigint"
    return f"{head} + {by} WHERE id = 1 RETURNING value)"


@lru_cache(maxsize=256)
def append(number: int, is_one: bool) -> str:
    """Return the part that inserts events; parameter `number` is how many."""
    head = _insert_head(event, ("position", *EVENT))
    rows = _given(event, EVENT, number + 1, is_one=is_one, placed=True)
    place = f"advanced.value - ${number}::bigint + v.place"
    columns = ", ".join(f"v.{_quoted(column)}" for column in EVENT)
    return (
        f"appended AS ({head} SELECT {place}, {columns} FROM advanced, "  # noqa: S608 - our names
        f"{rows} ON CONFLICT (id) DO NOTHING RETURNING 1)"
    )


@lru_cache(maxsize=64)
def known_arrays(table: Table, column: str) -> str:
    """Return the question which (job_key, value) exist, by arrays."""
    name = _quoted(column)
    arrays = _arrays(table, ("job_key", column), 1)
    return (
        f"SELECT t.job_key, t.{name} FROM unnest({arrays}) AS wanted (k, v) "  # noqa: S608 - our names
        f"JOIN {_quoted(table.name)} AS t ON t.job_key = k AND t.{name} = v"
    )


@lru_cache(maxsize=64)
def known_values(table: Table, column: str, count: int) -> str:
    """Return the question which of so many (job_key, value) exist, by marks."""
    name = _quoted(column)
    # CROSS: go through what is wanted, and not through all that there is.
    return (
        f"WITH wanted (k, v) AS (VALUES {marks(count, 2)}) "  # noqa: S608 - our names
        f"SELECT t.job_key, t.{name} FROM wanted CROSS JOIN {_quoted(table.name)} AS t "
        f"ON t.job_key = k AND t.{name} = v"
    )


@lru_cache(maxsize=256)
def marks(rows: int, width: int) -> str:
    """Return the question marks of so many rows for a VALUES."""
    return ", ".join([f"({', '.join('?' * width)})"] * rows)


def _given(
    table: Table,
    columns: tuple[str, ...],
    first: int,
    *,
    is_one: bool,
    placed: bool = False,
) -> str:
    """Return the rows `v` that are given as parameters: columns as arrays.

    One row is given as plain values, which are sooner planned. `placed`: with its
    `place` among them, from 1 on.
    """
    names = ", ".join([*map(_quoted, columns), "place"][: len(columns) + placed])
    if is_one:
        values = [
            f"${number}::{_type(table.c[column])}"
            for number, column in enumerate(columns, first)
        ]
        row = ", ".join([*values, "1"][: len(columns) + placed])
        return f"(SELECT {row}) AS v ({names})"
    ordered = " WITH ORDINALITY" if placed else ""
    return f"unnest({_arrays(table, columns, first)}){ordered} AS v ({names})"


def _arrays(table: Table, columns: tuple[str, ...], first: int) -> str:
    return ", ".join(
        f"${number}::{_type(table.c[column])}[]"
        for number, column in enumerate(columns, first)
    )


def _type(column: Column[Any]) -> str:
    # Not for every command that reads a file: it costs each 20 ms.
    from sqlalchemy.dialects import postgresql

    return str(column.type.compile(postgresql.dialect()))  # type: ignore[no-untyped-call]


def _quoted(identifier: str) -> str:
    """Return an identifier of ours quoted, since `key` and `position` are words."""
    return f'"{identifier}"'
