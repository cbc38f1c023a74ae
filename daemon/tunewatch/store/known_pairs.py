"""Which of many rows exist, asked for by pairs of a job and a value of its own.

Knows tables only as names and types.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain

from sqlalchemy import Connection, Table

from tunewatch.store import wording
from tunewatch.store.statements import columns_of, fetch, padded

_AT_ONCE = 128
"""Pairs in one question to SQLite, which keeps a program for each number of them."""


def known_pairs(
    connection: Connection,
    table: Table,
    column: str,
    wanted: Mapping[int, Collection[str]],
) -> set[tuple[int, str]]:
    """Return which (job_key, value of column) exist, of those wanted."""
    pairs = [(key, value) for key in wanted for value in sorted(wanted[key])]
    if not pairs:
        return set()
    if connection.dialect.name == "sqlite":
        return _known_in_parts(connection, table, column, pairs)
    rows = fetch(connection, wording.known_arrays(table, column), columns_of(pairs))
    return {(row[0], row[1]) for row in rows}


def _known_in_parts(
    connection: Connection, table: Table, column: str, pairs: list[tuple[int, str]]
) -> set[tuple[int, str]]:
    known: set[tuple[int, str]] = set()
    for start in range(0, len(pairs), _AT_ONCE):
        part = padded(pairs[start : start + _AT_ONCE])
        sql = wording.known_values(table, column, len(part))
        rows = fetch(connection, sql, list(chain.from_iterable(part)))
        known.update((row[0], row[1]) for row in rows)
    return known
