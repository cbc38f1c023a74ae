"""Leases as a process holds them: sought together, handed over, given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from support.databases import PostgresServer, postgres_server
from support.watching import until
from tunewatch.app.leasing import Leasing
from tunewatch.clock import FastClock
from tunewatch.store.leases import TTL
from tunewatch.store.opening import Store, open_store


@pytest.fixture
async def replicas(postgres_url: str) -> AsyncIterator[tuple[Store, Store]]:
    clock = FastClock(1.0)
    async with (
        open_store(postgres_url, clock=clock, owner="one") as one,
        open_store(postgres_url, clock=clock, owner="two") as two,
    ):
        for number in range(1, 4):
            await one.sources.contact(f"s{number}", "openai", f"realm{number}")
        yield one, two


@asynccontextmanager
async def keeping(store: Store) -> AsyncIterator[Leasing]:
    """Seek and renew until the block ends."""
    leasing = Leasing(leases=store.leases, clock=store.leases.clock)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(leasing.keep(), name="keep")
        try:
            yield leasing
        finally:
            task.cancel()


async def get(leasing: Leasing, source_id: int):
    async with asyncio.timeout(TTL):
        return await leasing.get(source_id, lambda: True)


async def test_what_is_handed_over_is_left_to_others_first(replicas):
    one, two = replicas
    async with keeping(one) as mine, keeping(two) as theirs:
        held = await get(mine, 1)
        async with asyncio.TaskGroup() as tasks:
            other = tasks.create_task(get(theirs, 1), name="other")
            await asyncio.sleep(0.5)
            assert not other.done()
            mine.hand_over(1)
            assert held.lost.is_set()
            assert mine.trusts(held.fence), "until it is given back it is ours"
            await mine.give_back(held)
            again = tasks.create_task(get(mine, 1), name="again")
            await asyncio.wait([other, again], return_when=asyncio.FIRST_COMPLETED)
            assert other.done()
            assert not again.done()
            await theirs.give_back(await other)
        assert mine.trusts((await again).fence)


async def test_nothing_is_kept_for_who_does_not_wait_any_more(replicas):
    one, two = replicas
    async with keeping(one) as mine:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(mine.get(1, lambda: True), name="waiting")
            await until(lambda: mine.held, every=0.0)
            waiting.cancel()
        assert mine.held == {}
        assert await two.leases.acquire(1) is not None


async def test_at_its_end_a_process_gives_back_what_it_has(replicas):
    one, two = replicas
    async with keeping(one) as mine:
        for number in (1, 2):
            await get(mine, number)
    assert [row.is_free for row in await two.leases.rows()] == [True, True]


async def test_a_store_that_takes_no_writes_is_away_until_it_does_what_it_is_asked(
    replicas, postgres, postgres_url
):
    one, _ = replicas
    async with keeping(one) as mine:
        held = await get(mine, 1)
        with take_no_writes(postgres, postgres_url):
            await until(lambda: mine.away_reason, what="it cannot be renewed")
            assert "is read-only" in mine.away_reason
            await mine.give_back(held)
            # Nothing is held or wanted: nothing is asked, which tells nothing.
            beat = mine.beat
            await until(lambda: mine.beat > beat, what="it goes round once more")
            assert mine.away_reason is not None
        await get(mine, 1)
        assert mine.away_reason is None


async def test_who_only_waits_for_a_lease_knows_soon_when_the_store_is_back():
    clock = FastClock(1.0)
    with postgres_server() as server:
        url = server.create()
        async with (
            open_store(url, clock=clock, owner="one") as one,
            open_store(url, clock=clock, owner="two") as two,
            keeping(one) as mine,
            keeping(two) as standby,
        ):
            await one.sources.contact("s1", "openai", "realm1")
            await get(mine, 1)
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(get(standby, 1), name="waiting")
                await asyncio.to_thread(server.stop)
                await until(lambda: standby.away_reason, what="it is away")
                server.start()
                began = clock.monotonic()
                await until(lambda: standby.away_reason is None, what="it is back")
                assert clock.monotonic() - began < TTL / 2
                assert not waiting.done()
                waiting.cancel()


@contextmanager
def take_no_writes(postgres: PostgresServer, url: str) -> Iterator[None]:
    """Let one database be read-only, and nobody have a session from before."""
    name = url.rpartition("/")[2]
    setting = f"ALTER DATABASE {name} SET default_transaction_read_only"
    sessions = f"FROM pg_stat_activity WHERE datname = '{name}'"
    end = f"SELECT pg_terminate_backend(pid) {sessions}"
    postgres.run(f"{setting} = on")
    postgres.run(end)
    yield
    postgres.run(f"{setting} = off")
    postgres.run(end)
