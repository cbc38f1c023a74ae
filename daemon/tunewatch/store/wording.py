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
def insert_arrays(
    table: Table, columns: tuple[str, ...], conflict: str, first: int, only_if: str
) -> str:
    """Return an INSERT of many rows, by arrays from a parameter's number on.

    `only_if` is a condition for all of them, or empty.
    """
    head = _insert_head(table, columns)
    arrays = _arrays(table, columns, first)
    where = f"WHERE {only_if} " if only_if else ""
    return f"{head} SELECT * FROM unnest({arrays}) {where}{conflict}"  # noqa: S608 - our names


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
def update_arrays(
    table: Table,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    first: int,
    only_if: str,
) -> str:
    """Return an UPDATE of many rows, by arrays from a parameter's number on.

    `only_if` is a condition for all of them, or empty.
    """
    values = ", ".join(f"{_quoted(column)} = v.{_quoted(column)}" for column in columns)
    same = [f"t.{_quoted(key)} = v.{_quoted(key)}" for key in keys]
    where = " AND ".join([*same, only_if] if only_if else same)
    every = (*columns, *keys)
    names = ", ".join(map(_quoted, every))
    rows = f"unnest({_arrays(table, every, first)}) AS v ({names})"
    head = f"UPDATE {_quoted(table.name)} AS t SET"
    return f"{head} {values} FROM {rows} WHERE {where}"


@lru_cache(maxsize=256)
def insert_row(
    table: Table, columns: tuple[str, ...], conflict: str, first: int, only_if: str
) -> str:
    """Return an INSERT of one row as `insert_arrays` does of many, sooner planned."""
    where = f"WHERE {only_if} " if only_if else ""
    values = ", ".join(_scalars(table, columns, first))
    return f"{_insert_head(table, columns)} SELECT {values} {where}{conflict}"


@lru_cache(maxsize=256)
def update_row(
    table: Table,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
    first: int,
    only_if: str,
) -> str:
    """Return an UPDATE of one row as `update_arrays` does of many, sooner planned."""
    values = _scalars(table, (*columns, *keys), first)
    pairs = [f"{_quoted(n)} = {v}" for n, v in zip(columns, values, strict=False)]
    same = [
        f"t.{_quoted(key)} = {value}"
        for key, value in zip(keys, values[len(columns) :], strict=True)
    ]
    where = " AND ".join([*same, only_if] if only_if else same)
    head = f"UPDATE {_quoted(table.name)} AS t SET"
    return f"{head} {', '.join(pairs)} WHERE {where}"


@lru_cache(maxsize=256)
def advance(number: int) -> str:
    """Return the part that moves the position by a parameter."""
    head, by = "advanced AS (UPDATE position SET value = value", f"${number}::bigint"
    return f"{head} + {by} WHERE id = 1 RETURNING value)"


@lru_cache(maxsize=256)
def append(number: int) -> str:
    """Return the part that inserts events; parameter `number` is how many."""
    head = _insert_head(event, ("position", *EVENT))
    names = ", ".join(map(_quoted, EVENT))
    rows = f"unnest({_arrays(event, EVENT, number + 1)}) WITH ORDINALITY"
    place = f"advanced.value - ${number}::bigint + v.place"
    columns = ", ".join(f"v.{_quoted(column)}" for column in EVENT)
    return (
        f"appended AS ({head} SELECT {place}, {columns} FROM advanced, "  # noqa: S608 - our names
        f"{rows} AS v ({names}, place) ON CONFLICT (id) DO NOTHING RETURNING 1)"
    )


@lru_cache(maxsize=256)
def append_row(number: int) -> str:
    """Return the part that inserts one event; parameter `number` is how many: 1."""
    head = _insert_head(event, ("position", *EVENT))
    values = ", ".join(_scalars(event, EVENT, number + 1))
    return (
        f"appended AS ({head} SELECT advanced.value, {values} FROM advanced "  # noqa: S608 - our names
        "ON CONFLICT (id) DO NOTHING RETURNING 1)"
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


def _arrays(table: Table, columns: tuple[str, ...], first: int) -> str:
    return ", ".join(
        f"${number}::{_type(table.c[column])}[]"
        for number, column in enumerate(columns, first)
    )


def _scalars(table: Table, columns: tuple[str, ...], first: int) -> list[str]:
    return [
        f"${number}::{_type(table.c[column])}"
        for number, column in enumerate(columns, first)
    ]


def _type(column: Column[Any]) -> str:
    # Not for every command that reads a file: it costs each 20 ms.
    from sqlalchemy.dialects import postgresql

    return str(column.type.compile(postgresql.dialect()))  # type: ignore[no-untyped-call]


def _quoted(identifier: str) -> str:
    """Return an identifier of ours quoted, since `key` and `position` are words."""
    return f'"{identifier}"'
