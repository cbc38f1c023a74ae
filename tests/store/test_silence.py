"""A client that falls silent in the middle of a transaction holds nobody up for long.

It is PostgreSQL's own client, its connection stays open, and what it holds is what one
of our processes would that is cut off or frozen right there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from support.databases import PostgresServer
from support.pgbouncer import pgbouncer
from support.stores import HandClock, open_desk, raw_job
from tunewatch.store.opening import open_store
from tunewatch.store.records import StoreUnavailable
from tunewatch.store.silence import APPLICATION, LOOK_EVERY, SILENT

SOON = SILENT + LOOK_EVERY + 5.0
"""s after which it is surely over: the last are for a machine that is busy."""
WRITING = "SELECT 1 FROM lease FOR KEY SHARE"
"""The lease of a source for which it writes."""
POSITION = "UPDATE position SET value = value"
TABLES = "LOCK TABLE alembic_version"


@asynccontextmanager
async def silent(
    url: str, *locks: str, application: str = APPLICATION
) -> AsyncIterator[asyncpg.Connection]:
    """Begin a transaction, lock, and say the first half of a statement.

    PostgreSQL's limits are set as ours are: they do not help here.
    """
    client = await asyncpg.connect(
        url, server_settings={"application_name": application}, statement_cache_size=0
    )
    await client.execute(
        "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '1s';"
        "SET LOCAL statement_timeout = '1s'"
    )
    for lock in locks:
        await client.execute(lock)
    await client.prepare("SELECT $1::int")
    try:
        yield client
    finally:
        client.terminate()


async def soon(question, *, within=SOON):
    """Return the first answer that is not nothing, however often the store is away."""
    async with asyncio.timeout(within):
        while True:
            try:
                answer = await question()
            except StoreUnavailable:
                answer = None
            if answer:
                return answer
            await asyncio.sleep(0.1)


def closed(client: asyncpg.Connection):
    async def answer() -> bool:
        return client.is_closed()

    return answer


async def there(postgres: PostgresServer) -> set[int]:
    """Return the numbers of all sessions there are."""
    rows = postgres.run("SELECT pid FROM pg_stat_activity")
    return {int(row) for row in rows}


async def test_what_a_silent_client_has_locked_is_free_in_a_moment(server_url):
    async with open_desk(server_url) as desk:
        leases, source = desk.store.leases, desk.source.id
        await leases.release(desk.held)
        async with silent(server_url, WRITING):
            # It is passed over by who seeks, not waited for.
            assert await leases.acquire_free([source], most=1) == []
            [desk.held] = await soon(lambda: leases.acquire_free([source], most=1))


async def test_silent_clients_of_others_are_left_alone(
    postgres: PostgresServer, server_url
):
    elsewhere = postgres.create()
    try:
        async with (
            silent(server_url, application="pg_dump") as backup,
            silent(elsewhere) as another,
            open_desk(server_url) as desk,
            silent(server_url, POSITION) as ours,
        ):
            # It has the position: nobody commits an event before it is ended.
            await soon(lambda: desk.saw("a", raw=raw_job("a")))
            assert [ref.position for ref in desk.heard] == [1, 2]
            left = await there(postgres)
            assert ours.get_server_pid() not in left
            assert {one.get_server_pid() for one in (backup, another)} <= left
    finally:
        postgres.drop(elsewhere)


async def test_a_start_waits_for_no_silent_client_that_has_the_tables(server_url):
    async def opened() -> bool:
        async with open_store(server_url, clock=HandClock(), owner="two"):
            return True

    async with silent(server_url, TABLES):
        assert await soon(opened)


async def test_behind_a_pooler_the_session_of_a_silent_client_is_free_in_a_moment(
    postgres: PostgresServer, server_url
):
    with pgbouncer(postgres) as between:
        url = between.url(server_url)
        async with open_desk(url) as desk, silent(url, POSITION) as client:
            await soon(lambda: desk.saw("a", raw=raw_job("a")))
            await soon(closed(client))
