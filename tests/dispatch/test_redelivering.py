"""What is asked for once more goes out with the same bytes, in lanes of its own."""

from __future__ import annotations

import asyncio
from collections import Counter

from sqlalchemy import text

from support.dispatching import (
    DEADLINE,
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
from tunewatch.plugin import Reject, Retry
from tunewatch.store.audit import Deed
from tunewatch.store.choice import Selection


async def asked(d, gates, dispatcher=None, **selection):
    """Ask for a redelivery as a person does; return its id."""
    plugins = [one.instance for one in gates]
    plan = await d.store.redeliver.plan(Selection(**selection), plugins)
    assert plan.refused == ()
    made = await d.store.redeliver.make(plan, deed=Deed("me@here", "redeliver"))
    if dispatcher is not None:
        dispatcher.expect_redeliveries()
    return made


async def is_over(d, made):
    return (await d.store.redeliver.progress(made)).left == 0


async def over(d, made):
    """Wait until nothing is left of a redelivery; return what became of it."""
    async with asyncio.timeout(DEADLINE):
        while True:
            progress = await d.store.redeliver.progress(made)
            if progress.left == 0:
                return progress
            await asyncio.sleep(0.005)


def message_id(done):
    """Return the id of the only message that was committed."""
    [ref] = [ref for ref in done.events if ref.type == MESSAGE]
    return ref.id


class Picky:
    """Rejects some messages, until they are fine."""

    def __init__(self, *bad):
        self.bad = set(bad)
        self.error = Reject("no")
        self.sink = Recorder(self._judge)

    def _judge(self, delivery):
        if message_of(delivery) in self.bad:
            raise self.error


async def test_a_redelivery_has_the_same_bytes_and_its_own_lane_and_closes_the_letter(
    store_url,
):
    async with desk(store_url) as d:
        receiver = Picky("bad")
        ops = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            done = await d.tell("ftjob-1", "bad", "good")
            await quiet(dispatcher)
            receiver.bad.clear()
            letter = await d.one("SELECT id FROM dead_letter")
            made = await asked(d, [ops], dispatcher, letters=(letter,))
            assert await asked(d, [ops], dispatcher, letters=(letter,)) is None
            progress = await over(d, made)
            await quiet(dispatcher)
        assert (progress.events, progress.accepted, progress.refused) == (1, 1, 0)
        assert (progress.by, progress.reason) == ("me@here", None)
        assert receiver.sink.texts == ["good", "bad"]
        again = receiver.sink.got[1]
        [ref] = [ref for ref in done.events if b'"bad"' in ref.body]
        assert (again.body, again.event.id) == (ref.body, ref.id)
        assert again.redelivered
        assert await d.one("SELECT closed_at IS NOT NULL FROM dead_letter")
        assert await d.rows("SELECT * FROM stretch") == []
        assert await d.rows("SELECT * FROM lane") == []
        [line] = await d.store.reads.deliveries.attempts(redelivery=made)
        assert (line.event_id, line.outcome) == (ref.id, "accepted")


async def test_all_that_are_dead_go_out_again_and_what_fails_again_stays_dead(
    store_url,
):
    async with desk(store_url) as d:
        receiver = Picky(*(f"{n}" for n in range(40)))
        ops = gate(receiver.sink, clock=d.clock, concurrency=4)
        async with d.dispatching(ops) as dispatcher:
            await d.tell_all({f"ftjob-{n}": [f"{n}", "fine"] for n in range(40)})
            await quiet(dispatcher)
            assert await d.one("SELECT count(*) FROM dead_letter") == 40
            receiver.bad = {"7", "8"}
            receiver.error = Retry("400 Bad Request", scope="lane")
            before = len(receiver.sink.got)
            made = await asked(d, [ops], dispatcher, dead=True)
            # The receiver finds fault with some: a person is at hand, no tries are
            # spent on them, and nobody else waits for them.
            progress = await over(d, made)
            await quiet(dispatcher)
        assert (progress.events, progress.accepted) == (40, 38)
        got = [message_of(one) for one in receiver.sink.got[before:]]
        assert sorted(got, key=int) == [str(n) for n in range(40) if n not in (7, 8)]
        still = await d.store.reads.deliveries.dead_letters()
        assert {one.job_id for one in still} == {"ftjob-7", "ftjob-8"}
        assert await d.one("SELECT count(*) FROM dead_letter") == 40
        log = await d.store.reads.deliveries.attempts(redelivery=made, limit=1000)
        assert Counter(one.outcome for one in log) == {"accepted": 38, "event": 2}


async def test_an_event_that_was_accepted_before_and_is_refused_now_becomes_a_letter(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        receiver = Picky()
        ops = gate(receiver.sink, clock=d.clock)
        tally = Tally()
        async with d.dispatching(ops, observer=tally) as dispatcher:
            done = await d.tell("ftjob-1", "one", "two")
            await quiet(dispatcher)
            receiver.bad = {"one"}
            names = tuple(ref.id for ref in done.events if ref.type.endswith("message"))
            made = await asked(d, [ops], dispatcher, plugin="ops", events=names)
            progress = await over(d, made)
            await quiet(dispatcher)
        assert (progress.events, progress.accepted) == (2, 1)
        [letter] = await d.store.reads.deliveries.dead_letters()
        assert letter.event_id == names[0]
        assert tally.burials == ["rejected"]


async def test_a_redelivery_of_everything_since_survives_a_kill(store_url):
    async with desk(store_url) as d:
        sink = Recorder()
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", *(f"{n}" for n in range(30)))
            await quiet(dispatcher)
        made = await asked(d, [ops], plugin="ops", since=d.clock.now() - 60)
        enough = asyncio.Event()

        async def ten(_delivery):
            if len(again.got) == 10:
                enough.set()
                await asyncio.Event().wait()

        again = Recorder(ten)
        async with d.killed(gate(again, clock=d.clock)):
            await enough.wait()
        assert (await d.store.redeliver.progress(made)).left == 1
        rest = Recorder()
        # It is taken up again without anybody asking.
        async with d.dispatching(gate(rest, clock=d.clock)):
            progress = await over(d, made)
        # What was on its way may come twice.
        assert again.texts + rest.texts in (
            [str(n) for n in range(30)],
            [*map(str, range(10)), *map(str, range(9, 30))],
        )
        assert all(got.redelivered for got in rest.got)
        assert (progress.events, progress.accepted) == (30, 30)


async def test_what_a_new_plugin_never_got_goes_to_it_and_only_what_it_wants(store_url):
    async with desk(store_url) as d:
        d.metadata = {"ftjob-b": {"team": "b"}}
        old = gate(Recorder(), "old", clock=d.clock)
        async with d.dispatching(old) as dispatcher:
            await d.tell_all({"ftjob-a": ["a1", "a2"], "ftjob-b": ["b1", "b2"]})
            await quiet(dispatcher)
        sink = Recorder()
        new = gate(sink, "new", clock=d.clock, metadata={"team": "b"})
        async with d.dispatching(old, new) as dispatcher:
            await d.tell("ftjob-b", "b3")
            await quiet(dispatcher)
            assert sink.texts == ["b3"]
            made = await asked(d, [old, new], dispatcher, plugin="new", missed=True)
            progress = await over(d, made)
            await quiet(dispatcher)
        assert sink.texts == ["b3", "b1", "b2"]
        assert (progress.events, progress.accepted) == (2, 2)


async def test_a_stretch_that_hangs_holds_up_no_job_and_no_other_stretch(sqlite_url):
    async with desk(sqlite_url) as d:
        hang = asyncio.Event()
        sink = Recorder(
            lambda one: (
                hang.wait() if one.redelivered and message_of(one) == "a" else None
            )
        )
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell_all({"ftjob-1": ["a"], "ftjob-2": ["b"]})
            await quiet(dispatcher)
            made = await asked(d, [ops], dispatcher, plugin="ops", since=0.0)
            await until(lambda: sink.texts[2:] == ["b"])
            await d.tell("ftjob-1", "fresh")
            await until(lambda: sink.texts[3:] == ["fresh"])
            assert (await d.store.redeliver.progress(made)).left == 1
            hang.set()
            await over(d, made)
        assert sink.texts[4:] == ["a"]


async def test_few_are_under_way_at_once_however_many_were_asked_for(store_url):
    async with desk(store_url) as d:
        receiver = Picky("x")
        ops = gate(receiver.sink, clock=d.clock, concurrency=2)
        async with d.dispatching(ops) as dispatcher:
            await d.tell_all({f"ftjob-{n}": ["x"] for n in range(300)})
            await quiet(dispatcher)
            ops.pause("to look at them")
            made = await asked(d, [ops], dispatcher, dead=True)
            await quiet(dispatcher)
            await asyncio.sleep(0.05)
            assert ops.state().waiting_lanes <= 4
            receiver.bad.clear()
            ops.resume()
            progress = await over(d, made)
        assert progress.accepted == 300
        assert receiver.sink.most_out <= 2
        assert await d.rows("SELECT id FROM dead_letter WHERE closed_at IS NULL") == []


async def test_the_same_request_while_it_is_under_way_is_no_second_one(store_url):
    async with desk(store_url) as d:
        sink = Recorder()
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell_all({f"ftjob-{n}": ["x", "y"] for n in range(3)})
            await quiet(dispatcher)
            ops.pause("so that it stays under way")
            range_ = {"plugin": "ops", "since": 0.0}
            made = await asked(d, [ops], dispatcher, **range_)
            plan = await d.store.redeliver.plan(Selection(**range_), [ops.instance])
            assert (plan.events, plan.under_way) == (0, 6)
            await d.tell("ftjob-0", "z")
            later = await d.store.redeliver.plan(Selection(**range_), [ops.instance])
            assert (later.events, later.under_way) == (1, 6)
            ops.resume()
            await over(d, made)
            await quiet(dispatcher)
            redelivered = [one for one in sink.got if one.redelivered]
            assert len(redelivered) == 6
            # Once it is over it can be asked for anew.
            again = await asked(d, [ops], dispatcher, **range_)
            assert (await over(d, again)).accepted == 7


async def test_a_plan_that_two_people_make_at_once_is_made_once(store_url):
    async with desk(store_url) as d:
        ops = gate(Recorder(), clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell_all({f"ftjob-{n}": ["x"] for n in range(5)})
            await quiet(dispatcher)
        selection = Selection(plugin="ops", since=0.0)
        plan = await d.store.redeliver.plan(selection, [ops.instance])
        made = [
            await d.store.redeliver.make(plan, deed=Deed("both", "redeliver"))
            for _ in range(2)
        ]
        assert made[0] is not None
        assert made[1] is None
        assert await d.one("SELECT count(*) FROM redelivery") == 1


async def test_events_that_are_gone_are_refused_and_the_letter_stays_open(store_url):
    async with desk(store_url) as d:
        receiver = Picky("bad")
        ops = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "bad")
            await quiet(dispatcher)
        made = await asked(d, [ops], dead=True)
        await d.store.carrier.write(lambda c: c.execute(text("DELETE FROM event")))
        async with d.dispatching(ops):
            progress = await over(d, made)
        assert (progress.accepted, progress.refused) == (0, 1)
        assert "retention removed" in progress.reason
        assert await d.one("SELECT closed_at IS NULL FROM dead_letter")
        plan = await d.store.redeliver.plan(Selection(dead=True), [ops.instance])
        assert plan.events == 0
        assert plan.refused == (
            "the events of dead letter 1 are gone: retention removed them",
        )


async def test_what_the_running_daemon_does_not_have_is_refused_with_the_reason(
    store_url,
):
    async with desk(store_url) as d:
        ops, other = (gate(Recorder(), n, clock=d.clock) for n in ("ops", "other"))
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
            made = await asked(d, [other], dispatcher, plugin="other", since=0.0)
            progress = await over(d, made)
        assert (progress.accepted, progress.refused) == (0, 1)
        assert progress.reason == "plugin other is not configured for source research"


async def test_a_job_that_the_plugin_is_not_subscribed_to_is_not_given_to_it(
    sqlite_url,
):
    """Whatever the configuration said where the request was made."""
    async with desk(sqlite_url) as d:
        sink = Recorder()
        here = gate(sink, clock=d.clock, metadata={"team": "a"})
        there = gate(None, clock=d.clock)
        async with d.dispatching(here) as dispatcher:
            done = await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
            made = await asked(d, [there], dispatcher, plugin="ops", since=0.0)
            progress = await over(d, made)
            assert "not subscribed to this job" in progress.reason
            # An event that a person names is another matter.
            name = message_id(done)
            made = await asked(d, [there], dispatcher, plugin="ops", events=(name,))
            assert (await over(d, made)).accepted == 1


async def test_trouble_of_its_own_in_a_redelivery_is_given_up_within_minutes(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        receiver = Picky()
        ops = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            done = await d.tell("ftjob-1", "poison")
            await quiet(dispatcher)
            receiver.bad, receiver.error = {"poison"}, Retry("500")
            name = message_id(done)
            made = await asked(d, [ops], dispatcher, plugin="ops", events=(name,))
            for n in range(40):
                await d.tell(f"ftjob-{n + 2}", "healthy")
                await passes(d, dispatcher, 10.0)
                if await is_over(d, made):
                    break
            progress = await over(d, made)
        assert progress.accepted == 0
        log = await d.store.reads.deliveries.attempts(redelivery=made)
        assert 4 <= len(log) <= 12, "an ordinary delivery has ten tries over an hour"
        [letter] = await d.store.reads.deliveries.dead_letters()
        assert "500" in letter.reason


async def test_a_redelivery_that_ends_the_process_three_times_is_given_up(sqlite_url):
    async with desk(sqlite_url) as d:
        ops = gate(Recorder(), clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            done = await d.tell("ftjob-1", "poison")
            await quiet(dispatcher)
        name = message_id(done)
        made = await asked(d, [ops], plugin="ops", events=(name,))
        for _ in range(3):
            for_ever = asyncio.Event()
            sink = Recorder(lambda _, forever=for_ever: forever.wait())
            async with d.killed(gate(sink, clock=d.clock)):
                await until(lambda sink=sink: sink.out > 0)
                await asyncio.sleep(0.02)
        fresh = Recorder()
        async with d.dispatching(gate(fresh, clock=d.clock)) as dispatcher:
            progress = await over(d, made)
            await quiet(dispatcher)
        assert fresh.got == []
        assert progress.refused == 1
        assert "ended 3 times" in progress.reason
        assert await d.rows("SELECT * FROM lane") == []


async def test_what_waits_to_go_out_again_is_not_forgotten_meanwhile(store_url):
    async with desk(store_url) as d:
        sink = Recorder()
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "one", "two")
            await quiet(dispatcher)
        d.clock.advance(100 * 86400.0)
        made = await asked(d, [ops], plugin="ops", since=0.0)
        purge = d.store.retention.purge
        await purge(d.fence, older_than=86400.0, plugins=["ops"])
        async with d.dispatching(gate(sink, clock=d.clock)):
            progress = await over(d, made)
        assert progress.accepted == 2
        await purge(d.fence, older_than=86400.0, plugins=["ops"])
        assert await d.rows("SELECT * FROM event") == []


async def test_nobody_keeps_events_for_ever_by_asking_for_them(sqlite_url):
    async with desk(sqlite_url) as d:
        ops = gate(Recorder(), clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
        await asked(d, [ops], plugin="ops", since=0.0)
        d.clock.advance(100 * 86400.0)
        await d.store.carrier.write(
            lambda c: c.execute(text("UPDATE mark SET position = 99"))
        )
        purge = d.store.retention.purge
        await purge(d.fence, older_than=86400.0, plugins=["ops"])
        assert await d.rows("SELECT * FROM event") == []


async def test_another_owner_goes_on_with_a_redelivery(store_url):
    """A hand-over of the lease in the middle: nothing is lost, nothing is invented."""
    async with desk(store_url) as d:
        first = Recorder(lambda _: asyncio.sleep(0.002))
        ops = gate(first, clock=d.clock, concurrency=2)
        async with d.dispatching(ops) as dispatcher:
            await d.tell_all({f"ftjob-{n}": ["x", "y"] for n in range(30)})
            await quiet(dispatcher)
            before = len(first.got)
            made = await asked(d, [ops], dispatcher, plugin="ops", since=0.0)
            await until(lambda: len(first.got) > before + 5)
        await d.store.leases.release(d.fence)
        d.fence = await d.store.leases.acquire(d.fence.source_id)
        second = Recorder()
        async with d.dispatching(gate(second, clock=d.clock)):
            progress = await over(d, made)
        assert progress.accepted == 60
        again = [*first.got[before:], *second.got]
        assert len(again) == 60
        for job_id in {one.event.common.id for one in again}:
            said = [message_of(x) for x in again if x.event.common.id == job_id]
            assert said == ["x", "y"]


async def test_what_is_cancelled_does_not_go_out_any_more(store_url):
    async with desk(store_url) as d:
        hold = asyncio.Event()
        sink = Recorder(lambda one: hold.wait() if one.redelivered else None)
        ops = gate(sink, clock=d.clock, concurrency=2)
        async with d.dispatching(ops) as dispatcher:
            await d.tell_all({f"ftjob-{n}": ["x", "y"] for n in range(20)})
            await quiet(dispatcher)
            before = len(sink.got)
            made = await asked(d, [ops], dispatcher, plugin="ops", since=0.0)
            await until(lambda: sink.out == 2)
            assert await d.store.redeliver.cancel(made, by="me@here") == 20
            assert await d.store.redeliver.cancel(made, by="me@here") == 0
            dispatcher.expect_redeliveries()
            await until(lambda: ops.state().waiting_lanes == 0)
            hold.set()
            await quiet(dispatcher)
            # Others go on as if nothing had been.
            again = await asked(d, [ops], dispatcher, plugin="ops", since=0.0)
            assert (await over(d, again)).accepted == 40
        progress = await d.store.redeliver.progress(made)
        assert (progress.accepted, progress.left) == (2, 0)
        assert (progress.refused, progress.reason) == (20, "cancelled by me@here")
        assert len(sink.got) == before + 2 + 40
        assert await d.rows("SELECT * FROM lane") == []
