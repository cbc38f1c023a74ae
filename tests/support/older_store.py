"""A store as the first release would have left it, with what today's has in it.

Its tables are made anew by the first migration, and filled with the columns that they
had then. Knows no table by what is in it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection

from support.databases import PostgresServer
from tunewatch.store import files
from tunewatch.store.postgres import postgres_carrier
from tunewatch.store.sqlite import sqlite_carrier

_EMPTY = "DELETE FROM {into}.{table}"
_COPY = (
    "INSERT INTO {into}.{table} ({listed}) {anyway} SELECT {listed} FROM today.{table}"
)
_COLUMNS = (
    "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
    " AND table_schema IN ('public', 'today')"
    " GROUP BY column_name HAVING count(*) = 2 ORDER BY column_name"
)
_COUNTED = (
    "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE table_schema = 'public'"
    " AND (is_identity = 'YES' OR column_default LIKE 'nextval%')"
)
_COUNT_ON = (
    "SELECT setval(pg_get_serial_sequence('public.{table}', '{column}'),"
    " 1 + coalesce((SELECT max({column}) FROM public.{table}), 0))"
)


def first_release(connection: Connection) -> None:
    """Make the tables as the first release had them."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "tunewatch.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


async def sqlite_as_of_first_release(path: Path) -> None:
    """Put such a store in the place of one that nobody has open."""
    today = _aside(path)
    with files.held(path):
        async with sqlite_carrier(path) as carrier:
            await carrier.write(first_release)
    _fill(path, today)


def _aside(path: Path) -> Path:
    today = path.with_suffix(".today")
    path.rename(today)
    return today


def _fill(path: Path, today: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ATTACH ? AS today", (str(today),))
        tables = "SELECT name FROM main.sqlite_master WHERE type = 'table'"
        for [table] in connection.execute(tables).fetchall():
            if table.startswith(("sqlite_", "alembic_")):
                continue
            names = _sqlite_columns(connection, "main", table)
            names &= _sqlite_columns(connection, "today", table)
            named = {"into": "main", "table": table, "listed": ", ".join(sorted(names))}
            connection.execute(_EMPTY.format(**named))
            connection.execute(_COPY.format(**named, anyway=""))
        connection.commit()
    today.unlink()


def _sqlite_columns(connection: sqlite3.Connection, of: str, table: str) -> set[str]:
    rows = connection.execute(f"PRAGMA {of}.table_info({table})").fetchall()
    return {row[1] for row in rows}


async def postgres_as_of_first_release(server: PostgresServer, url: str) -> None:
    """Put such a store in the place of one that nobody has open."""
    database = url.rpartition("/")[2]

    def run(sql: str) -> list[str]:
        return server.run(sql, database)

    run("ALTER SCHEMA public RENAME TO today")
    run("CREATE SCHEMA public")
    async with postgres_carrier(url) as carrier:
        await carrier.write(first_release)
    for table in run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        if table.startswith("alembic_"):
            continue
        listed = ", ".join(run(_COLUMNS.format(table=table)))
        named = {"into": "public", "table": table, "listed": listed}
        run(_EMPTY.format(**named))
        run(_COPY.format(**named, anyway="OVERRIDING SYSTEM VALUE"))
    for row in run(_COUNTED):
        table, column = row.split("|")
        run(_COUNT_ON.format(table=table, column=column))
    run("DROP SCHEMA today CASCADE")
