"""A source lives on one replica: leases by the database's clock, fenced writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import text

from support.stores import HandClock, decode_job, open_desk, raw_job
from tunewatch.diff import Observation
from tunewatch.store.leases import TTL, fence
from tunewatch.store.opening import Store, open_store
from tunewatch.store.records import Fence, LeaseLost


@asynccontextmanager
async def two_of(url: str) -> AsyncIterator[tuple[Store, Store]]:
    async with (
        open_store(url, clock=HandClock(), owner="one") as one,
        open_store(url, clock=HandClock(), owner="two") as two,
    ):
        await one.sources.contact("research", "openai", "realm")
        yield one, two


@pytest.fixture
async def replicas(postgres_url: str) -> AsyncIterator[tuple[Store, Store]]:
    async with two_of(postgres_url) as both:
        yield both


@pytest.fixture
async def rivals(server_url: str) -> AsyncIterator[tuple[Store, Store]]:
    """Replicas of which one is in the middle of a transaction."""
    async with two_of(server_url) as both:
        yield both


async def expire(store: Store) -> None:
    await store.carrier.write(
        lambda connection: connection.execute(text("UPDATE lease SET expires_at = 1"))
    )


async def test_a_lease_that_is_held_is_not_given_away(replicas):
    one, two = replicas
    held = await one.leases.acquire(1)
    assert held == Fence(1, 1)
    assert await two.leases.acquire(1) is None
    assert await one.leases.renew([held]) == {held}
    [row] = await two.leases.rows()
    assert (row.owner, row.is_free) == ("one", False)


async def test_an_expired_lease_is_taken_over_and_the_old_owner_writes_nothing(
    replicas,
):
    one, two = replicas
    old = await one.leases.acquire(1)
    await expire(one)
    new = await two.leases.acquire(1)
    assert new.token > old.token
    assert await one.leases.renew([old]) == set()
    assert one.leases.expires_in(old) == 0
    look = Observation(job_id="a", look=1, at=0.0, raw=raw_job("a"))
    with pytest.raises(LeaseLost):
        await one.journal.commit(old, [look], decode=decode_job)
    [seen] = await two.journal.commit(new, [look], decode=decode_job)
    assert seen.outcome == "committed"


async def test_a_lease_given_back_is_free_at_once(replicas):
    one, two = replicas
    held = await one.leases.acquire(1)
    await one.leases.release(held)
    assert await two.leases.acquire(1) == Fence(1, held.token + 1)


async def test_leases_that_are_given_back_together_are_free_and_no_others(replicas):
    one, two = replicas
    for number in range(2, 6):
        await one.sources.contact(f"s{number}", "openai", f"realm{number}")
    held = await one.leases.acquire_free(range(1, 6), most=5)
    stale = held[3]._replace(token=held[3].token - 1)
    async with asyncio.TaskGroup() as tasks:
        for ours in (*held[:3], stale):
            tasks.create_task(one.leases.release(ours), name="release")
    assert [row.is_free for row in await two.leases.rows()] == [True] * 3 + [False] * 2
    taken = await two.leases.acquire_free(range(1, 6), most=5)
    assert [theirs.source_id for theirs in taken] == [1, 2, 3]


async def test_what_was_released_late_does_not_free_the_next_owner(replicas):
    one, two = replicas
    old = await one.leases.acquire(1)
    await expire(one)
    new = await two.leases.acquire(1)
    await one.leases.release(old)
    assert await two.leases.renew([new]) == {new}
    assert await one.leases.acquire(1) is None


async def test_a_takeover_waits_for_the_write_that_is_under_way(replicas):
    one, two = replicas
    old = await one.leases.acquire(1)
    await expire(one)
    fenced = asyncio.Event()
    loop = asyncio.get_running_loop()
    order: list[str] = []

    def slow(connection) -> None:
        fence(connection, old)
        loop.call_soon(fenced.set)
        connection.execute(text("SELECT pg_sleep(0.5)"))

    async def take() -> None:
        await fenced.wait()
        assert await two.leases.acquire(1) is not None
        order.append("taken")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(take(), name="take")
        await one.carrier.write(slow, committed=lambda _: order.append("written"))
    assert order == ["written", "taken"]


async def test_only_one_of_two_gets_a_free_lease(replicas):
    for _ in range(10):
        async with asyncio.TaskGroup() as tasks:
            takers = [
                tasks.create_task(replica.leases.acquire(1), name="take")
                for replica in replicas
            ]
        taken = [task.result() for task in takers if task.result() is not None]
        assert len(taken) == 1
        await expire(replicas[0])


async def test_trust_ends_by_the_monotonic_clock_from_before_the_renewal(replicas):
    one, _ = replicas
    clock = one.leases.clock
    held = await one.leases.acquire(1)
    assert one.leases.expires_in(held) == TTL
    clock.advance(5)
    assert one.leases.expires_in(held) == TTL - 5
    clock.wall -= 86_400
    await one.leases.renew([held])
    assert one.leases.expires_in(held) == TTL


async def test_nobody_loses_a_file_that_only_they_can_have_by_sleeping(tmp_path):
    async with open_desk(f"sqlite:///{tmp_path / 'state.db'}") as desk:
        leases = desk.store.leases
        leases.clock.advance(10 * TTL)
        assert leases.expires_in(desk.held) == TTL
        assert leases.expires_in(desk.held._replace(token=99)) == 0


async def test_a_file_waits_for_no_clock(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with open_desk(url) as desk:
        first = desk.held
    async with open_desk(url) as desk:
        assert desk.held.token == first.token + 1
        assert await desk.store.leases.renew([first, desk.held]) == {desk.held}
        with pytest.raises(LeaseLost):
            await desk.store.carrier.write(lambda c: fence(c, first))


async def test_a_new_term_of_ones_own_ends_the_old_one_and_lets_nobody_in(replicas):
    one, two = replicas
    old = await one.leases.acquire(1)
    new = await one.leases.again(old)
    assert new == Fence(1, old.token + 1)
    assert one.leases.expires_in(new) > TTL - 1
    assert one.leases.expires_in(old) == 0.0
    assert await two.leases.acquire(1) is None
    with pytest.raises(LeaseLost):
        await one.carrier.write(lambda connection: fence(connection, old))
    await one.carrier.write(lambda connection: fence(connection, new))


async def test_there_is_no_new_term_of_a_lease_that_was_taken_over(replicas):
    one, two = replicas
    old = await one.leases.acquire(1)
    await expire(one)
    taken = await two.leases.acquire(1)
    assert await one.leases.again(old) is None
    await two.carrier.write(lambda connection: fence(connection, taken))


async def test_free_leases_are_taken_together_and_those_held_are_left(replicas):
    one, two = replicas
    for number in (2, 3, 4):
        await one.sources.contact(f"s{number}", "openai", f"realm{number}")
    held = await one.leases.acquire(2)
    taken = await two.leases.acquire_free([1, 2, 3, 4], most=10)
    assert taken == [Fence(1, 1), Fence(3, 1), Fence(4, 1)]
    assert await two.leases.acquire_free([1, 2, 3, 4], most=10) == []
    assert await two.leases.renew(taken) == set(taken)
    assert await one.leases.renew([held, *taken]) == {held, *taken}
    assert two.leases.expires_in(taken[0]) == TTL


async def test_no_more_are_taken_than_was_said(replicas):
    one, _ = replicas
    await one.sources.contact("s2", "openai", "realm2")
    assert await one.leases.acquire_free([2, 1], most=1) == [Fence(2, 1)]


async def test_a_lease_under_which_somebody_writes_is_left_for_the_next_time(rivals):
    one, two = rivals
    old = await one.leases.acquire(1)
    await expire(one)
    written = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(connection) -> None:
        fence(connection, old)
        loop.call_soon_threadsafe(written.set)
        connection.execute(text("SELECT pg_sleep(0.5)"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.carrier.write(slow), name="write")
        await written.wait()
        assert await two.leases.acquire_free([1], most=1) == []
    assert await two.leases.acquire_free([1], most=1) == [Fence(1, old.token + 1)]


async def test_a_lease_that_somebody_changes_right_now_is_passed_over(
    rivals, server_url
):
    one, two = rivals
    await one.sources.contact("s2", "openai", "realm2")
    await one.leases.acquire_free([1, 2], most=2)
    await expire(one)
    client = await asyncpg.connect(server_url)
    async with client.transaction():
        await client.execute("UPDATE lease SET owner = owner WHERE source_id = 1")
        # An insert of the row would wait.
        assert await two.leases.acquire_free([1, 2], most=2) == [Fence(2, 2)]
    await client.close()


async def test_all_that_a_process_has_is_given_back_and_nothing_of_others(replicas):
    one, two = replicas
    await one.sources.contact("s2", "openai", "realm2")
    mine, theirs = await one.leases.acquire(1), await two.leases.acquire(2)
    await one.leases.release_all()
    assert one.leases.expires_in(mine) == 0
    assert await two.leases.acquire(1) == Fence(1, mine.token + 1)
    assert await two.leases.renew([theirs]) == {theirs}
