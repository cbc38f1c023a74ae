"""From the tables of the first release to today's, with what was in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from support import older_store
from support.databases import PostgresServer
from support.stores import HandClock
from tunewatch.store import files
from tunewatch.store.address import sqlite_path
from tunewatch.store.carrier import Carrier
from tunewatch.store.opening import open_store
from tunewatch.store.sqlite import sqlite_carrier

# As the first release writes them.
NEW_MARK = (
    "INSERT INTO mark (plugin, source_id, position, in_flight, last_used_at)"
    " VALUES ('{name}', 1, 7, '[]', 5.0)"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Lend the address of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create()
    yield url
    server.drop(url)


def first_release(connection: Connection) -> None:
    """Make the tables as the first release had them, and put something in."""
    older_store.first_release(connection)
    connection.execute(text(NEW_MARK.format(name="old")))


async def written(url: str) -> None:
    path = sqlite_path(url)
    if path is None:
        from tunewatch.store.postgres import postgres_carrier

        async with postgres_carrier(url) as carrier:
            await carrier.write(first_release)
    else:
        with files.held(path):
            async with sqlite_carrier(path) as carrier:
                await carrier.write(first_release)


async def rows(carrier: Carrier, sql: str) -> list[tuple[object, ...]]:
    return await carrier.read(lambda c: [tuple(row) for row in c.execute(text(sql))])


async def test_a_store_of_the_first_release_is_upgraded_in_place(empty_url):
    await written(empty_url)
    async with open_store(empty_url, clock=HandClock(), owner="one") as store:
        marks = await rows(store.carrier, "SELECT plugin, position, start FROM mark")
        assert marks == [("old", 7, None)]
        assert await store.reads.deliveries.attempts() == []


async def test_the_first_release_can_write_beside_this_one(store_url):
    """While replicas are upgraded one by one."""
    async with open_store(store_url, clock=HandClock(), owner="one") as store:
        await store.carrier.write(
            lambda c: c.execute(text(NEW_MARK.format(name="late")))
        )
        await store.carrier.write(
            lambda c: c.execute(
                text(
                    "UPDATE mark SET position = 9, in_flight = '[]', last_used_at = 6"
                    " WHERE plugin = 'late' AND source_id = 1"
                )
            )
        )
        marks = await rows(store.carrier, "SELECT plugin, position, start FROM mark")
        assert marks == [("late", 9, None)]


async def test_jobs_are_compressed_by_what_is_read_fast(postgres):
    """The PostgreSQL of the tests can; one that cannot is left as it is."""
    url = postgres.create()
    try:
        async with open_store(url, clock=HandClock(), owner="one") as store:
            found = await rows(
                store.carrier,
                "SELECT attname FROM pg_attribute WHERE attrelid = 'job'::regclass"
                " AND attcompression = 'l' ORDER BY attname",
            )
    finally:
        postgres.drop(url)
    assert found == [("raw",), ("selection",), ("state",), ("view",)]
