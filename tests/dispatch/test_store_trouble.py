from __future__ import annotations

import asyncio
import signal

from structlog.testing import capture_logs

from support.dispatching import (
    Recorder,
    desk,
    gate,
    quiet,
    until,
)
from tunewatch.dispatch.ledger import Ledger
from tunewatch.store.records import LeaseLost, StoreUnavailable


async def test_a_dispatcher_whose_source_was_taken_over_ends_and_writes_nothing(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        for_ever = asyncio.Event()
        sink = Recorder(lambda _: for_ever.wait())
        dispatcher = d.dispatcher(gate(sink, clock=d.clock))
        async with asyncio.timeout(20):
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(
                    _fault_of(dispatcher.run(asyncio.Event(), grace=5.0))
                )
                await until(dispatcher.loaded.is_set)
                await d.tell("ftjob-1", "one")
                await until(lambda: sink.out == 1)
                before = await d.rows("SELECT * FROM mark")
                d.fence = await d.store.leases.acquire(d.fence.source_id)
                await d.tell("ftjob-2", "two")
            assert isinstance(running.result(), LeaseLost)
        assert sink.out == 0
        assert await d.rows("SELECT * FROM mark") == before


async def _fault_of(awaitable):
    try:
        await awaitable
    except (LeaseLost, StoreUnavailable) as fault:
        return fault
    return None


async def _fill_the_disk(d):
    """Let the database refuse to grow, as on a full disk; return how to free it."""

    def fill(connection):
        run = connection.exec_driver_sql
        run("CREATE TABLE junk (x)")
        pages = run("PRAGMA page_count").scalar()
        run(f"PRAGMA max_page_count = {pages + 8}")

    def stuff(connection):
        connection.exec_driver_sql("INSERT INTO junk VALUES (zeroblob(4000))")

    def free(connection):
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")

    await d.store.carrier.write(fill)
    while await _fault_of(d.store.carrier.write(stuff)) is None:
        pass
    return lambda: d.store.carrier.write(free)


async def test_nothing_is_acknowledged_that_cannot_be_written_and_all_resumes(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        sink = Recorder()
        ops = gate(sink, clock=d.clock, concurrency=2000)
        async with d.dispatching(ops) as dispatcher:
            ops.pause("to gather a backlog")
            await d.tell_all({f"ftjob-{n}": ["x", "y"] for n in range(2000)})
            await quiet(dispatcher)
            free = await _fill_the_disk(d)
            # What is in flight needs more room now than there is.
            ops.resume()
            for _ in range(12):
                ops.opened(sink)
                await asyncio.sleep(0.02)
            await until(lambda: dispatcher.paused_reason is not None)
            assert "disk is full" in dispatcher.paused_reason
            got = len(sink.got)
            for _ in range(10):
                d.clock.advance(2.0)
                await asyncio.sleep(0.01)
            assert len(sink.got) == got
            [in_flight] = await d.rows("SELECT in_flight FROM mark")
            await free()
            while dispatcher.paused_reason is not None:
                d.clock.advance(2.0)
                await asyncio.sleep(0.01)
            await quiet(dispatcher)
            assert await d.rows("SELECT in_flight FROM mark") == [(b"[]",)]
        assert in_flight != (b"[]",)
        assert len(sink.got) == len({one.event.id for one in sink.got}) == 4000


async def test_it_stays_paused_while_only_what_takes_no_room_succeeds(sqlite_url):
    def count(connection):
        return connection.exec_driver_sql("SELECT count(*) FROM junk").scalar()

    def stuff(connection):
        connection.exec_driver_sql("INSERT INTO junk VALUES (zeroblob(4000))")

    async with desk(sqlite_url) as d:
        ledger = Ledger(
            d.store.carrier, source="research", clock=d.clock, jitter=lambda: 0.5
        )
        free = await _fill_the_disk(d)
        before = await ledger.read(count)
        with capture_logs() as logs:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(ledger.write(lambda _: stuff), name="write")
                await until(lambda: ledger.paused_reason is not None)
                assert await ledger.read(count) == before
                assert "disk is full" in ledger.paused_reason
                await free()
                while not writing.done():
                    d.clock.advance(2.0)
                    await asyncio.sleep(0.01)
        assert ledger.paused_reason is None
        assert await ledger.read(count) == before + 1
    told = [line["event"] for line in logs]
    assert told == ["dispatch.paused", "dispatch.resumed"]


async def test_a_database_that_goes_away_pauses_and_comes_back(postgres, postgres_url):
    async with desk(postgres_url) as d:
        sink = Recorder()
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", *(f"{n}" for n in range(50)))
            await until(lambda: len(sink.got) > 5)
            postgres.stop(signal.SIGQUIT)
            try:
                await until(lambda: dispatcher.paused_reason is not None)
            finally:
                postgres.start()
            while dispatcher.paused_reason is not None:
                d.clock.advance(2.0)
                await asyncio.sleep(0.05)
            await until(lambda: len(set(sink.texts)) == 50)
            await quiet(dispatcher)
        assert list(dict.fromkeys(sink.texts)) == [str(n) for n in range(50)]
