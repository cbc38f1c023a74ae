"""Behind a transaction pooler, where no two transactions share a session."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from support.databases import PostgresServer
from support.pooler import pooler
from support.stores import checkpoint, message, open_desk, raw_job
from tunewatch.store.postgres import CONNECTIONS
from tunewatch.store.records import StoreUnavailable


async def test_everything_works_without_a_session(
    postgres: PostgresServer, server_url: str
):
    async with pooler(postgres.port) as between:
        url = server_url.replace(f":{postgres.port}/", f":{between.port}/")
        async with open_desk(url) as desk:
            await desk.saw("a", raw=raw_job("a"), checkpoints=(checkpoint(1),))
            async with asyncio.TaskGroup() as tasks:
                for number in range(40):
                    looking = desk.saw(f"j{number}", raw=raw_job(f"j{number}"))
                    tasks.create_task(looking, name=f"commit:{number}")
                    tasks.create_task(desk.store.reads.jobs(), name=f"read:{number}")
                    renewing = desk.store.leases.renew([desk.held])
                    tasks.create_task(renewing, name=f"renew:{number}")
            seen = await desk.saw("a", entries=(message(1),))
            assert len(seen.events) == 1
            assert len((await desk.store.reads.jobs(limit=100)).rows) == 41
            assert len(desk.heard) == 3 + 2 * 40 + 1
        assert between.turns > 50
        assert between.names == {b""}


async def test_tables_are_made_through_a_pooler(postgres: PostgresServer):
    async with pooler(postgres.port) as between:
        empty = postgres.create()
        url = empty.replace(f":{postgres.port}/", f":{between.port}/")
        async with open_desk(url) as desk:
            assert desk.held.token == 1
        postgres.drop(empty)


async def test_limits_hold_in_every_transaction_and_end_with_it(server_url: str):
    def limits(connection) -> list[str]:
        names = ("statement_timeout", "lock_timeout", "synchronous_commit")
        names += ("idle_in_transaction_session_timeout",)
        return [connection.scalar(text(f"SHOW {name}")) for name in names]

    async with open_desk(server_url) as desk:
        carrier = desk.store.carrier
        assert await carrier.write(limits) == ["3500ms", "3s", "on", "3500ms"]
        left = await carrier.write(
            lambda c: c.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
        )
        assert left == 0


async def test_who_gets_no_connection_in_time_is_told_to_come_again(server_url: str):
    def slow(connection) -> None:
        connection.execute(text("SELECT pg_sleep(3.3)"))

    async with open_desk(server_url) as desk:
        async with asyncio.TaskGroup() as tasks:
            for number in range(CONNECTIONS):
                tasks.create_task(desk.store.carrier.read(slow), name=f"slow:{number}")
            await asyncio.sleep(0.1)
            with pytest.raises(StoreUnavailable, match="no connection was free"):
                await desk.store.reads.jobs()
        assert (await desk.store.reads.jobs()).rows == []
