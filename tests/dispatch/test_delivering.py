from __future__ import annotations

import asyncio

import pytest

from support.dispatching import (
    MESSAGE,
    NoSettings,
    Recorder,
    Tally,
    desk,
    desk_of,
    gate,
    message_of,
    passes,
    quiet,
    until,
)
from tunewatch.dispatch import Parcels
from tunewatch.plugin import Derived, Reject
from tunewatch.store.records import LeaseLost


async def test_an_event_reaches_a_subscribed_plugin_and_the_mark_follows(store_url):
    async with desk(store_url) as d:
        sink, tally = Recorder(), Tally()
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops, observer=tally) as dispatcher:
            await d.tell("ftjob-1", "one", "two")
            await d.tell("ftjob-2", "three")
            await quiet(dispatcher)
        assert sink.of_job("ftjob-1") == ["one", "two"]
        assert sink.of_job("ftjob-2") == ["three"]
        newest = await d.one("SELECT max(position) FROM event")
        assert await d.rows("SELECT position, in_flight FROM mark") == [(newest, b"[]")]
        assert await d.rows("SELECT * FROM lane") == []
        assert tally.outcomes == [("accepted", 1)] * 3
        assert len(tally.dwells) == 3


async def test_what_nobody_wants_rouses_nobody_and_is_passed_by(store_url):
    async with desk(store_url) as d:
        sink = Recorder()
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
            for _ in range(5):
                await asyncio.sleep(0)  # it rests a moment after it says so
            for step in range(1, 4):
                await d.record("ftjob-1", step, train_loss=0.5)
                assert dispatcher.idle.is_set()
            await d.tell("ftjob-1", "two")
            assert not dispatcher.idle.is_set()
            await quiet(dispatcher)
            await d.record("ftjob-1", 4, train_loss=0.5)
        assert sink.texts == ["one", "two"]
        newest = await d.one("SELECT max(position) FROM event")
        assert await d.one("SELECT position FROM mark") == newest


async def test_what_is_committed_while_it_works_is_not_passed_by_unseen(store_url):
    async with desk(store_url) as d:
        # Each delivery commits what nobody wants, and something for everybody.
        async def commits(delivery):
            number = int(message_of(delivery))
            if number < 20:
                await d.record("ftjob-2", number, train_loss=0.5)
                await d.tell("ftjob-1", f"{number + 1}")
                await d.record("ftjob-2", 100 + number, train_loss=0.5)

        first, second = Recorder(commits), Recorder()
        gates = (
            gate(first, "first", clock=d.clock),
            gate(second, "second", clock=d.clock),
        )
        async with d.dispatching(*gates):
            await d.tell("ftjob-1", "1")
            await until(lambda: len(second.got) == 20 and len(first.got) == 20)
        assert first.texts == second.texts == [str(n) for n in range(1, 21)]
        newest = await d.one("SELECT max(position) FROM event")
        marks = await d.rows("SELECT position FROM mark")
        assert marks == [(newest,), (newest,)]


async def test_every_job_is_told_in_commit_order_while_many_are_out(store_url):
    async with desk(store_url) as d:
        sink = Recorder(lambda _: asyncio.sleep(0))
        ops = gate(sink, clock=d.clock, concurrency=16)
        async with d.dispatching(ops) as dispatcher:
            for n in range(0, 30, 3):
                said = {f"ftjob-{j}": [f"{n + i}" for i in range(3)] for j in range(20)}
                await d.tell_all(said)
            await quiet(dispatcher)
        assert sink.most_out > 4
        for j in range(20):
            assert sink.of_job(f"ftjob-{j}") == [str(n) for n in range(30)]


async def test_a_delivery_carries_the_committed_bytes_and_counts_its_attempts(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        sink = Recorder()
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            done = await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
        [told] = sink.got
        [ref] = [ref for ref in done.events if ref.type == MESSAGE]
        assert (told.body, told.event.id) == (ref.body, ref.id)
        assert (told.attempt, told.redelivered) == (1, False)


async def test_a_slow_job_does_not_hold_up_the_others(sqlite_url):
    async with desk(sqlite_url) as d:
        slow = asyncio.Event()
        sink = Recorder(
            lambda delivery: slow.wait() if message_of(delivery) == "slow" else None
        )
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "slow", "after it")
            await d.tell("ftjob-2", *(f"{n}" for n in range(20)))
            await until(lambda: len(sink.got) == 20)
            # The lane of the others is ahead of the mark, so it has a row.
            await until(lambda: sink.out == 1)
            assert sink.of_job("ftjob-1") == []
            slow.set()
            await quiet(dispatcher)
        assert sink.of_job("ftjob-1") == ["slow", "after it"]
        assert await d.rows("SELECT * FROM lane") == []


async def test_a_hanging_plugin_does_not_hold_up_another_one(sqlite_url):
    async with desk(sqlite_url) as d:
        for_ever = asyncio.Event()
        hanging = Recorder(lambda _: for_ever.wait())
        healthy = Recorder()
        gates = [
            gate(hanging, "stuck", clock=d.clock, timeout=60.0),
            gate(healthy, "fine", clock=d.clock),
        ]
        async with d.dispatching(*gates, grace=0.0):
            for n in range(50):
                await d.tell(f"ftjob-{n % 5}", f"{n}")
            await until(lambda: len(healthy.got) == 50)
            assert hanging.got == []


async def test_a_lane_stays_taken_until_a_call_that_timed_out_has_really_ended(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        release = asyncio.Event()

        class Reluctant(Recorder):
            async def deliver(self, delivery):
                self.out += 1
                self.most_out = max(self.most_out, self.out)
                try:
                    await asyncio.sleep(60)
                finally:
                    # A clean-up that takes longer than the time that is left.
                    await release.wait()
                    self.out -= 1

        sink = Reluctant()
        ops = gate(sink, clock=d.clock, timeout=0.02)
        async with d.dispatching(ops, grace=0.0):
            await d.tell("ftjob-1", "one", "two")
            await until(lambda: sink.out == 1)
            await asyncio.sleep(0.1)
            assert ops.state().in_flight == 1
            assert ops.state().state == "up"
            release.set()
            await until(lambda: ops.state().state == "probing")
            assert ops.state().reason == "no answer within 0.02 s"
        assert sink.most_out == 1


async def test_a_rejected_event_does_not_hold_up_its_job_and_is_kept(store_url):
    async with desk(store_url) as d:
        tally = Tally()

        def judge(delivery):
            if message_of(delivery) == "bad":
                raise Reject("too ugly")

        sink = Recorder(judge)
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops, observer=tally) as dispatcher:
            await d.tell("ftjob-1", "good", "bad", "fine")
            await quiet(dispatcher)
        assert sink.texts == ["good", "fine"]
        [letter] = await d.rows(
            "SELECT plugin, reason, tries, event_id, first_sequence = last_sequence,"
            " closed_at FROM dead_letter"
        )
        event_id = await d.one(
            "SELECT id FROM event WHERE position = (SELECT first_position"
            " FROM dead_letter)"
        )
        assert tuple(letter) == ("ops", "too ugly", 1, event_id, True, None)
        assert tally.burials == ["rejected"]


async def test_a_plugin_gets_only_the_types_sources_and_jobs_it_asked_for(sqlite_url):
    async with desk(sqlite_url) as d:
        d.metadata = {"ftjob-a": {"team": "a"}, "ftjob-b": {"team": "b"}}
        statuses, ours, other = Recorder(), Recorder(), Recorder()
        gates = [
            gate(statuses, "statuses", clock=d.clock, events=("@status",)),
            gate(ours, "ours", clock=d.clock, metadata={"team": "a"}),
            gate(other, "other", clock=d.clock, sources=("prod-*",)),
        ]
        async with d.dispatching(*gates) as dispatcher:
            await d.tell("ftjob-a", "for a")
            await d.tell("ftjob-b", "for b")
            await quiet(dispatcher)
        assert statuses.texts == ["fine_tuning.job.running"] * 2
        assert ours.texts == ["for a"]
        assert other.got == []
        assert await d.rows("SELECT plugin FROM mark ORDER BY plugin") == [
            ("ours",),
            ("statuses",),
        ]


async def test_a_new_plugin_starts_at_the_present(sqlite_url):
    async with desk(sqlite_url) as d:
        await d.tell("ftjob-1", "history")
        sink = Recorder()
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "news")
            await quiet(dispatcher)
        assert sink.texts == ["news"]


async def test_events_of_the_source_itself_are_delivered(sqlite_url):
    async with desk(sqlite_url) as d:
        from tunewatch.events import SourceDown

        sink = Recorder()
        ops = gate(sink, clock=d.clock, events=("@source",))
        async with d.dispatching(ops) as dispatcher:
            payload = SourceDown(reason="refused", since="2026-11-20T00:00:00Z")
            await d.store.journal.source_event(d.fence, payload)
            await quiet(dispatcher)
        [told] = sink.got
        assert told.event.type == "tunewatch.source.down"


async def test_twenty_plugins_share_one_decoded_event(sqlite_url):
    async with desk(sqlite_url) as d:
        sinks = [Recorder() for _ in range(20)]
        gates = [gate(s, f"p{n}", clock=d.clock) for n, s in enumerate(sinks)]
        async with d.dispatching(*gates) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
        assert len({id(sink.got[0].event) for sink in sinks}) == 1


async def test_the_memory_for_fresh_events_is_bounded(sqlite_url):
    async with desk(sqlite_url) as d:
        parcels = Parcels(room=20_000)
        sink = Recorder()
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops, parcels=parcels) as dispatcher:
            await d.tell("ftjob-1", *(f"{n}" for n in range(100)))
            await quiet(dispatcher)
        assert sink.texts == [str(n) for n in range(100)]
        assert 0 < len(parcels) < 10


async def test_two_sources_share_the_concurrency_of_a_plugin_fairly(sqlite_url):
    async with desk(sqlite_url) as d:
        e = await desk_of(d.store, d.clock, "other", "azure")
        sink = Recorder(lambda _: asyncio.sleep(0.002))
        ops = gate(sink, clock=d.clock, concurrency=2)
        async with d.dispatching(ops), e.dispatching(ops):
            await d.tell_all({f"ftjob-{n}": ["d"] * 9 for n in range(60)})
            await e.tell_all({f"ftjob-e{n}": ["e"] for n in range(10)})
            await until(lambda: sink.texts.count("e") == 10)
            assert sink.texts.count("d") < 200
        assert sink.most_out <= 2


async def test_a_plugin_whose_open_failed_gets_everything_once_it_is_open(sqlite_url):
    async with desk(sqlite_url) as d:
        sink = Recorder()
        ops = gate(None, clock=d.clock)
        ops.closed("broker down")
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "one", "two")
            await quiet(dispatcher)
            state = ops.state()
            assert (state.state, state.reason) == ("probing", "broker down")
            ops.opened(sink)
            await until(lambda: len(sink.got) == 2)
        assert sink.texts == ["one", "two"]


class Chooser:
    """A reactor that concludes as told, and notes what it saw."""

    def __init__(self, conclude) -> None:
        self.conclude = conclude
        self.got = []

    async def react(self, delivery):
        self.got.append(delivery)
        answer = self.conclude(delivery)
        return await answer if asyncio.iscoroutine(answer) else answer


UNSELECTED = Derived(
    type="tunewatch.checkpoint.unselected",
    data={"reason": "no_candidate", "detail": "none"},
)


async def test_what_a_reactor_concludes_is_committed_and_told_to_others_not_to_it(
    store_url,
):
    async with desk(store_url) as d:
        reactor, sink = Chooser(lambda _: [UNSELECTED]), Recorder()
        gates = [
            gate(reactor, "choose", clock=d.clock, events=(MESSAGE, "@selection")),
            gate(sink, "ops", clock=d.clock, events=("@selection",)),
        ]
        async with d.dispatching(*gates) as dispatcher:
            await d.tell("ftjob-1", "one")
            await until(lambda: sink.got)
            await quiet(dispatcher)
        # Asked again it may be: a conclusion from an older state of its job is refused.
        assert len({delivery.event.id for delivery in reactor.got}) == 1
        [told] = sink.got
        assert told.event.payload.reason == "no_candidate"
        assert await d.one("SELECT count(*) FROM event WHERE derived") == 1


async def test_where_no_plugin_wants_events_nothing_is_delivered_and_all_goes_on(
    store_url,
):
    async with desk(store_url) as d, d.dispatching() as dispatcher:
        await d.tell("ftjob-1", "one")
        await passes(d, dispatcher, 3600.0)
        await d.tell("ftjob-1", "two")
        await quiet(dispatcher)
        assert await d.one("SELECT count(*) FROM mark") == 0


class Choosy(Chooser):
    """One that heeds only metrics of validation."""

    def heeds(self, metrics):
        if metrics.points[0].step == 3:
            raise ZeroDivisionError("a reactor's own defect")
        return any("full_valid_loss" in point.values for point in metrics.points)


async def test_metrics_that_a_reactor_does_not_heed_cost_no_transaction(store_url):
    async with desk(store_url) as d:
        reactor = Choosy(lambda _: ())
        choose = gate(reactor, "choose", clock=d.clock, events=("*",))
        async with d.dispatching(choose) as dispatcher:
            await d.tell("ftjob-1", "one")
            await until(lambda: reactor.got)
            await quiet(dispatcher)
            before, handed = await d.rows("SELECT * FROM mark"), len(reactor.got)
            for step in (1, 2):
                await d.record("ftjob-1", step, train_loss=0.5)
            await quiet(dispatcher)
            assert await d.rows("SELECT * FROM mark") == before
            assert len(reactor.got) == handed
            # Its own defect makes it react; so does what it heeds.
            await d.record("ftjob-1", 3, train_loss=0.4)
            await d.record("ftjob-1", 4, full_valid_loss=0.3)
            await until(lambda: len(reactor.got) == handed + 2)
            await d.tell("ftjob-1", "two")
            await until(lambda: len(reactor.got) == handed + 3)
        assert dispatcher.is_drained
        newest = await d.one("SELECT max(position) FROM event")
        assert await d.one("SELECT position FROM mark") == newest


async def test_a_reactor_is_asked_again_when_the_job_moved_on_meanwhile(store_url):
    async with desk(store_url) as d:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def conclude(delivery):
            if len(reactor.got) == 1:
                begun.set()
                await go_on.wait()
            return [UNSELECTED] if message_of(delivery) == "one" else []

        reactor = Chooser(conclude)
        async with d.dispatching(gate(reactor, "choose", clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "one")
            await begun.wait()
            await d.tell("ftjob-1", "two")
            go_on.set()
            await quiet(dispatcher)
        assert [message_of(got) for got in reactor.got] == ["one", "one", "two"]
        assert await d.one("SELECT count(*) FROM event WHERE derived") == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        Derived(type="fine_tuning.job.succeeded", data={}),
        Derived(type="tunewatch.checkpoint.unselected", data={"reason": "because"}),
        Derived(type="tunewatch.checkpoint.unselected", data={"reason": object()}),
        "not a conclusion",
    ],
)
async def test_what_a_reactor_may_not_conclude_is_trouble_of_the_event(
    sqlite_url, nonsense
):
    async with desk(sqlite_url) as d:
        reactor = Chooser(lambda _: [nonsense])
        ops = gate(reactor, "choose", clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "one")
            await until(lambda: reactor.got)
            await quiet(dispatcher)
            assert ops.state().state == "up"
            [[tries, wait]] = await d.rows("SELECT tries, wait FROM lane")
            assert (tries, wait) == (1, 5.0)
        assert await d.one("SELECT count(*) FROM event WHERE derived") == 0


async def test_a_view_hears_nothing_and_holds_up_no_mark(sqlite_url):
    class Page:
        def routes(self):
            return []

    async with desk(sqlite_url) as d:
        page = gate(Page(), "page", clock=d.clock)
        async with d.dispatching(page) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
        newest = await d.one("SELECT max(position) FROM event")
        assert await d.one("SELECT position FROM mark") == newest


async def test_the_settings_of_the_tests_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="extra"):
        NoSettings(unknown=1)


async def test_nothing_goes_out_while_another_replica_may_have_the_source(store_url):
    async with desk(store_url) as d:
        sink, ours, asked = Recorder(), [True], []

        def is_ours() -> bool:
            asked.append(ours[0])
            return ours[0]

        async with d.dispatching(
            gate(sink, clock=d.clock), is_ours=is_ours
        ) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
            ours[0] = False
            await d.tell("ftjob-1", "two")
            # As if frozen when its mark was written: it could go out, and does not.
            await until(lambda: not asked[-1])
            await asyncio.sleep(0.1)
            assert sink.of_job("ftjob-1") == ["one"]
            ours[0] = True
            await quiet(dispatcher)
            assert sink.of_job("ftjob-1") == ["one", "two"]


async def test_a_lost_lease_takes_no_room_at_the_gate_of_all_sources(store_url):
    async with desk(store_url) as d:
        sink = Recorder()
        ops = gate(sink, clock=d.clock, concurrency=2)
        for number in range(3):
            dispatcher, stop = d.dispatcher(ops), asyncio.Event()
            with pytest.RaisesGroup(LeaseLost):
                async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
                    tasks.create_task(dispatcher.run(stop, grace=1.0), name="old")
                    await dispatcher.loaded.wait()
                    await d.store.leases.release(d.fence)
                    d.fence = await d.store.leases.acquire(d.fence.source_id)
                    await d.tell("ftjob-1", f"{number}")
            assert ops.state().in_flight == 0
        async with d.dispatching(ops) as dispatcher:
            await quiet(dispatcher)
        # What was out when the lease went is told again.
        assert list(dict.fromkeys(sink.of_job("ftjob-1"))) == ["0", "1", "2"]
