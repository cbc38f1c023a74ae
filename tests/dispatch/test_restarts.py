from __future__ import annotations

import asyncio
import signal

import pytest

from support.dispatching import (
    MESSAGE,
    Recorder,
    Tally,
    desk,
    gate,
    message_of,
    passes,
    quiet,
    until,
)
from tunewatch.store.records import LeaseLost, StoreUnavailable
from tunewatch.store.redelivery import RedeliveryAsked, encode_redelivery


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path / 'state.db'}"


async def test_what_was_out_when_the_process_died_is_sent_again_with_the_same_bytes(
    store_url,
):
    async with desk(store_url) as d:
        for_ever = asyncio.Event()
        first = Recorder(lambda _: for_ever.wait())
        seen = []

        def note(delivery):
            seen.append(delivery)
            return for_ever.wait()

        first.answer = note
        async with d.killed(gate(first, clock=d.clock)):
            await d.tell("ftjob-1", "one", "two")
            await until(lambda: seen)
        assert first.got == []
        second = Recorder()
        async with d.dispatching(gate(second, clock=d.clock)) as dispatcher:
            await quiet(dispatcher)
        assert second.texts == ["one", "two"]
        assert second.got[0].event.id == seen[0].event.id
        assert second.got[0].body == seen[0].body


async def test_nothing_is_lost_or_out_of_order_over_many_kills(store_url):
    async with desk(store_url) as d:
        sink = Recorder(lambda _: asyncio.sleep(0.001))
        told = {f"ftjob-{j}": [] for j in range(10)}
        async with d.dispatching(gate(Recorder(), clock=d.clock)):
            pass
        for kill in range(15):
            async with d.killed(gate(sink, clock=d.clock, concurrency=4)):
                for n in range(3):
                    said = {job_id: [f"{kill}.{n}"] for job_id in told}
                    for job_id, texts in said.items():
                        told[job_id] += texts
                    await d.tell_all(said)
                enough = len(sink.got) + kill
                await until(lambda enough=enough: len(sink.got) > enough)
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await quiet(dispatcher)
        for job_id, texts in told.items():
            got = sink.of_job(job_id)
            assert list(dict.fromkeys(got)) == texts
        repeats = len(sink.got) - sum(len(texts) for texts in told.values())
        assert repeats <= 15 * 4
        assert await d.rows("SELECT * FROM dead_letter") == []


async def test_after_an_unclean_end_what_was_out_goes_first_and_one_at_a_time(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        for_ever = asyncio.Event()
        first = Recorder(lambda _: for_ever.wait())
        async with d.killed(gate(first, clock=d.clock, concurrency=4)):
            await d.tell_all({f"ftjob-{n}": ["out", "later"] for n in range(4)})
            await until(lambda: first.out == 4)
            await d.tell_all({f"ftjob-{n}": ["waited"] for n in range(4, 8)})
        levels = []
        second = Recorder()

        async def note(_delivery):
            levels.append(second.out)
            await asyncio.sleep(0.005)

        second.answer = note
        async with d.dispatching(gate(second, clock=d.clock)) as dispatcher:
            await quiet(dispatcher)
        assert second.texts[:4] == ["out"] * 4
        assert levels[:4] == [1, 1, 1, 1]
        assert max(levels) > 1
        assert len(second.got) == 12
        assert await d.rows("SELECT * FROM lane") == []


async def _die_with(d):
    """Let the process end while deliveries are out; return how many at most."""
    for_ever = asyncio.Event()
    sink = Recorder(lambda _: for_ever.wait())
    async with d.killed(gate(sink, clock=d.clock)):
        await until(lambda: sink.out > 0)
        await asyncio.sleep(0.02)
    return sink.most_out


async def test_an_event_that_was_out_alone_at_three_ends_becomes_a_dead_letter(
    store_url,
):
    async with desk(store_url) as d:
        async with d.dispatching(gate(Recorder(), clock=d.clock)):
            pass
        await d.tell("ftjob-1", "poison", "after it")
        for counted in ([], [(1,)], [(2,)]):
            assert await _die_with(d) == 1
            # Each end is counted by the start after it.
            assert await d.rows("SELECT crashes FROM lane") == counted
        tally, sink = Tally(), Recorder()
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops, observer=tally) as dispatcher:
            await quiet(dispatcher)
        assert sink.texts == ["after it"]
        assert tally.burials == ["crash"]
        [reason] = [row.reason for row in await d.rows("SELECT * FROM dead_letter")]
        assert reason == "the process ended 3 times while only this event was out"
        assert await d.rows("SELECT * FROM lane") == []


async def test_an_end_with_several_out_counts_against_none_of_them(sqlite_url):
    async with desk(sqlite_url) as d:
        async with d.dispatching(gate(Recorder(), clock=d.clock)):
            pass
        await d.tell_all({f"ftjob-{n}": ["x"] for n in range(3)})
        for_ever = asyncio.Event()
        sink = Recorder(lambda _: for_ever.wait())
        async with d.killed(gate(sink, clock=d.clock)):
            await until(lambda: sink.out == 3)
        async with d.dispatching(gate(None, clock=d.clock)):
            pass
        assert await d.rows("SELECT * FROM lane") == []


async def test_a_suspect_that_hangs_holds_up_the_others_for_a_moment_only(sqlite_url):
    async with desk(sqlite_url) as d:
        async with d.dispatching(gate(Recorder(), clock=d.clock)):
            pass
        await d.tell_all({f"ftjob-{n}": [f"{n}"] for n in range(3)})
        for_ever = asyncio.Event()
        sink = Recorder(lambda _: for_ever.wait())
        async with d.killed(gate(sink, clock=d.clock)):
            await until(lambda: sink.out == 3)
        second = Recorder(lambda x: for_ever.wait() if message_of(x) == "0" else None)
        async with d.dispatching(gate(second, clock=d.clock), grace=0.0):
            await until(lambda: second.out == 1)
            await asyncio.sleep(0.05)
            assert second.got == []
            d.clock.advance(1.0)
            await until(lambda: second.texts == ["1", "2"])


async def test_a_success_clears_what_was_counted_against_an_event(sqlite_url):
    async with desk(sqlite_url) as d:
        async with d.dispatching(gate(Recorder(), clock=d.clock)):
            pass
        await d.tell("ftjob-1", "one")
        assert await _die_with(d) == 1
        sink = Recorder()
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await quiet(dispatcher)
        assert sink.texts == ["one"]
        assert await d.rows("SELECT * FROM lane") == []


async def test_a_stop_awaits_what_is_out_and_sends_nothing_more(sqlite_url):
    async with desk(sqlite_url) as d:
        let_go = asyncio.Event()
        sink = Recorder(lambda _: let_go.wait())
        ops = gate(sink, clock=d.clock)
        stop = asyncio.Event()
        dispatcher = d.dispatcher(ops)
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(dispatcher.run(stop, grace=5.0))
            await until(dispatcher.loaded.is_set)
            await d.tell("ftjob-1", "one", "two")
            await until(lambda: sink.out == 1)
            stop.set()
            await asyncio.sleep(0.02)
            let_go.set()
        assert sink.texts == ["one"]
        [[position, in_flight]] = await d.rows("SELECT position, in_flight FROM mark")
        one = await d.one("SELECT min(position) FROM event WHERE type = :t", t=MESSAGE)
        assert (position, in_flight) == (one, b"[]")


async def test_a_stop_cancels_what_is_still_out_after_the_grace_and_is_clean(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        for_ever = asyncio.Event()
        sink = Recorder(lambda _: for_ever.wait())
        stop = asyncio.Event()
        dispatcher = d.dispatcher(gate(sink, clock=d.clock))
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(dispatcher.run(stop, grace=3.0))
            await until(dispatcher.loaded.is_set)
            await d.tell("ftjob-1", "one")
            await until(lambda: sink.out == 1)
            stop.set()
            await asyncio.sleep(0.05)
            d.clock.advance(2.9)
            await asyncio.sleep(0.05)
            assert sink.out == 1
            d.clock.advance(0.1)
            await until(running.done)
        assert sink.out == 0
        assert await d.rows("SELECT in_flight FROM mark") == [(b"[]",)]
        assert await d.rows("SELECT * FROM lane") == []


async def test_a_plugin_that_returns_to_the_configuration_goes_on_where_it_was(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        sink = Recorder()
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
        d.clock.advance(6 * 86400)
        async with d.dispatching(gate(Recorder(), "other", clock=d.clock)) as running:
            await d.tell("ftjob-1", "while away")
            await passes(d, running, 3700.0)
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await quiet(dispatcher)
        assert sink.texts == ["one", "while away"]


async def test_a_plugin_that_stays_away_is_forgotten_after_its_time(sqlite_url):
    async with desk(sqlite_url) as d:
        both = [gate(Recorder(), name, clock=d.clock) for name in ("ops", "other")]
        async with d.dispatching(*both) as dispatcher:
            await quiet(dispatcher)
        # Time in which nothing ran does not count.
        d.clock.advance(30 * 86400)
        async with d.dispatching(gate(Recorder(), "other", clock=d.clock)) as running:
            await passes(d, running, 6 * 86400.0)
            assert len(await d.rows("SELECT * FROM mark")) == 2
            await passes(d, running, 2 * 86400.0)
            await quiet(running)
            assert await d.rows("SELECT plugin FROM mark") == [("other",)]


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


async def test_a_redelivery_has_the_same_bytes_and_its_own_lane_and_closes_the_letter(
    store_url,
):
    async with desk(store_url) as d:
        from tunewatch.plugin import Reject

        bad = {"bad"}

        def judge(delivery):
            if message_of(delivery) in bad:
                raise Reject("no")

        sink = Recorder(judge)
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            done = await d.tell("ftjob-1", "bad", "good")
            await quiet(dispatcher)
            bad.clear()
            letter = await d.one("SELECT id FROM dead_letter")
            await d.store.requests.add(
                "redeliver",
                d.fence.source_id,
                encode_redelivery(RedeliveryAsked(plugin="ops", letter=letter)),
            )
            for request in await d.store.requests.pending(["redeliver"]):
                assert await dispatcher.redeliver(request) is None
                assert await dispatcher.redeliver(request) is None
            await until(lambda: len(sink.got) == 2)
        again = sink.got[1]
        [ref] = [ref for ref in done.events if b'"bad"' in ref.body]
        assert (again.body, again.event.id) == (ref.body, ref.id)
        assert again.redelivered
        assert await d.one("SELECT closed_at IS NOT NULL FROM dead_letter")
        assert await d.rows("SELECT * FROM request") == []
        assert await d.rows("SELECT * FROM lane") == []


async def test_a_redelivery_of_everything_since_survives_a_kill(sqlite_url):
    async with desk(sqlite_url) as d:
        sink = Recorder()
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", *(f"{n}" for n in range(30)))
            await quiet(dispatcher)
        asked = RedeliveryAsked(plugin="ops", since=d.clock.now() - 60)
        await d.store.requests.add(
            "redeliver", d.fence.source_id, encode_redelivery(asked)
        )
        [request] = await d.store.requests.pending(["redeliver"])
        enough = asyncio.Event()

        async def ten(_delivery):
            if len(again.got) == 10:
                enough.set()
                await asyncio.Event().wait()

        again = Recorder(ten)
        async with d.killed(gate(again, clock=d.clock)) as dispatcher:
            await dispatcher.redeliver(request)
            await enough.wait()
        rest = Recorder()
        async with d.dispatching(gate(rest, clock=d.clock)) as dispatcher:
            [request] = await d.store.requests.pending(["redeliver"])
            await dispatcher.redeliver(request)
            await until(lambda: rest.texts[-1:] == ["29"])
        assert again.texts + rest.texts == [str(n) for n in range(30)]
        assert all(got.redelivered for got in rest.got)
        assert await d.rows("SELECT * FROM request") == []


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (RedeliveryAsked(plugin="ops", letter=77), "there is no dead letter 77"),
        (RedeliveryAsked(plugin="ops", event="evt_x"), "event evt_x is not kept"),
        (RedeliveryAsked(plugin="nobody", since=0.0), "plugin nobody is not"),
    ],
)
async def test_a_redelivery_that_cannot_be_done_is_refused_with_the_reason(
    sqlite_url, asked, why
):
    async with desk(sqlite_url) as d:
        await d.tell("ftjob-1", "one")
        async with d.dispatching(gate(Recorder(), clock=d.clock)) as dispatcher:
            await d.store.requests.add(
                "redeliver", d.fence.source_id, encode_redelivery(asked)
            )
            [request] = await d.store.requests.pending(["redeliver"])
            said = await dispatcher.redeliver(request)
            assert said is not None
            assert said.startswith(why)
