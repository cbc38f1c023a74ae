from __future__ import annotations

import asyncio

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
