from __future__ import annotations

import asyncio

import pytest

from support.dispatching import (
    HandClock,
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
from support.stores import statements_noted
from tunewatch.plugin import Pause, Reject, Retry


class Receiver:
    """Answers by what is set: raises for all, or for some messages only."""

    def __init__(self) -> None:
        self.down = None
        self.bad = {}
        self.calls = []
        self.sink = Recorder(self._judge)

    def _judge(self, delivery):
        said = message_of(delivery)
        self.calls.append(said)
        error = self.down or self.bad.get(said)
        if error is not None:
            raise error

    @property
    def took(self):
        return self.sink.texts


async def test_a_receiver_that_is_down_is_probed_ever_slower_and_spends_no_tries(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        receiver.down = Retry("503 Service Unavailable")
        ops = gate(receiver.sink, clock=d.clock, jitter=0.5)
        async with d.dispatching(ops) as dispatcher:
            await d.tell_all({f"ftjob-{n}": [f"{n}"] for n in range(100)})
            await until(lambda: receiver.calls)
            await quiet(dispatcher)
            first = len(receiver.calls)
            assert first <= ops.instance.concurrency
            times = []
            for second in range(300):
                before = len(receiver.calls)
                await passes(d, dispatcher, 1.0)
                assert len(receiver.calls) - before <= 1
                if len(receiver.calls) > before:
                    times.append(second + 1)
            assert times == [5, 15, 35, 75, 135, 195, 255]
            assert await d.rows("SELECT * FROM lane") == []
            state = ops.state()
            assert state.state == "probing"
            assert state.reason == "503 Service Unavailable"
            assert state.retry_at is not None
            # Each probe took the head of another lane.
            assert len(set(receiver.calls)) == len(receiver.calls)


async def test_a_receiver_that_comes_back_is_ramped_up_and_gets_everything_in_order(
    store_url,
):
    async with desk(store_url) as d:
        receiver = Receiver()
        receiver.down = Retry("connection refused")
        ops = gate(receiver.sink, clock=d.clock, concurrency=8)
        gates = [ops]
        async with d.dispatching(*gates) as dispatcher:
            said = {f"ftjob-{n}": [f"{n}.{i}" for i in range(5)] for n in range(20)}
            await d.tell_all(said)
            await until(lambda: receiver.calls)
            await quiet(dispatcher)
            receiver.down = None
            receiver.sink.answer = lambda _: asyncio.sleep(0.001)
            levels = []
            deliver = receiver.sink.deliver

            async def watched(delivery):
                levels.append(ops.state().in_flight)
                await deliver(delivery)

            receiver.sink.deliver = watched
            await passes(d, dispatcher, 6.0)
            await until(lambda: len(receiver.took) == 100)
        for n in range(20):
            assert receiver.sink.of_job(f"ftjob-{n}") == [f"{n}.{i}" for i in range(5)]
        assert levels[:4] == [1, 1, 2, 2]
        assert max(levels) == 8


async def test_what_the_receiver_asks_for_is_honoured_up_to_a_day(sqlite_url):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        receiver.down = Retry("429", after=1800.0)
        ops = gate(receiver.sink, clock=d.clock, concurrency=1)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "one")
            await until(lambda: receiver.calls)
            await quiet(dispatcher)
            receiver.down = Retry("429", after=10 * 365 * 86400.0)
            await passes(d, dispatcher, 1799.0, steps=10)
            assert len(receiver.calls) == 1
            await passes(d, dispatcher, 1.0)
            assert len(receiver.calls) == 2
            receiver.down = None
            await passes(d, dispatcher, 86399.0, steps=10)
            assert len(receiver.calls) == 2
            await passes(d, dispatcher, 1.0)
            await until(lambda: receiver.took == ["one"])


async def test_a_plugin_that_raises_is_in_trouble_alone_and_goes_on_when_it_is_cured(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        receiver, healthy = Receiver(), Recorder()
        receiver.down = ZeroDivisionError("secret in the message")
        ops = gate(receiver.sink, clock=d.clock)
        fine = gate(healthy, "fine", clock=d.clock)
        async with d.dispatching(ops, fine) as dispatcher:
            await d.tell("ftjob-1", "one", "two")
            await until(lambda: len(healthy.got) == 2)
            await quiet(dispatcher)
            assert ops.state().reason == "raised ZeroDivisionError"
            assert fine.state().state == "up"
            receiver.down = None
            await passes(d, dispatcher, 5.0)
            await until(lambda: receiver.took == ["one", "two"])


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
async def test_a_plugin_can_neither_end_the_daemon_nor_lose_an_event(sqlite_url, error):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        receiver.down = error
        ops = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "one")
            await until(lambda: ops.state().state == "probing")
            receiver.down = None
            await quiet(dispatcher)
            await passes(d, dispatcher, 5.0)
            await until(lambda: receiver.took == ["one"])


async def test_an_event_that_fails_while_others_are_taken_has_ten_tries_in_an_hour(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        tally, receiver = Tally(), Receiver()
        receiver.bad = {"poison": Retry("500")}
        ops = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(ops, observer=tally) as dispatcher:
            await d.tell("ftjob-1", "poison", "after it")
            await until(lambda: receiver.calls)
            began, numbers = d.clock.monotonic(), iter(range(10**6))
            while "after it" not in receiver.took:
                await d.tell("ftjob-2", f"{next(numbers)}")
                await passes(d, dispatcher, 10.0)
                assert d.clock.monotonic() - began < 2 * 3600
            assert d.clock.monotonic() - began >= 3600
            assert ops.state().state == "up"
        # Failures before another event was taken may be the receiver's: no try spent.
        assert receiver.calls.count("poison") > 10
        [letter] = await d.rows("SELECT tries, reason FROM dead_letter")
        assert tuple(letter) == (10, "gave up after 10 tries: 500")
        assert tally.burials == ["tries"]


async def test_an_event_that_the_receiver_blames_has_five_tries(sqlite_url):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        receiver.bad = {"bad": Retry("400 Bad Request", scope="lane")}
        ops = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "bad", "after it")
            await d.tell("ftjob-2", "fine")
            await until(lambda: receiver.took == ["fine"])
            waits = []
            while "after it" not in receiver.took:
                waited = 0
                before = receiver.calls.count("bad")
                while receiver.calls.count("bad") == before:
                    await passes(d, dispatcher, 1.0)
                    waited += 1
                waits.append(waited)
                await quiet(dispatcher)
            assert waits == [5, 30, 120, 600]
            assert ops.state().state == "up"
        [letter] = await d.rows("SELECT tries, reason FROM dead_letter")
        assert tuple(letter) == (5, "gave up after 5 tries: 400 Bad Request")


async def test_a_retry_after_of_a_blamed_event_holds_up_its_job_alone(sqlite_url):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        receiver.bad = {"bad": Retry("422", scope="lane", after=300.0)}
        async with d.dispatching(gate(receiver.sink, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "bad")
            await d.tell("ftjob-2", "fine")
            await until(lambda: receiver.took == ["fine"])
            await passes(d, dispatcher, 299.0, steps=10)
            assert receiver.calls.count("bad") == 1
            await passes(d, dispatcher, 1.0)
            assert receiver.calls.count("bad") == 2


async def test_a_lane_that_waits_goes_on_after_a_restart_with_what_is_left(sqlite_url):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        receiver.bad = {"bad": Retry("400", scope="lane", after=100.0)}
        ops = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "bad", "next")
            await until(lambda: receiver.calls)
            await quiet(dispatcher)
            await passes(d, dispatcher, 40.0)
        again = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(again) as dispatcher:
            await passes(d, dispatcher, 59.0)
            assert receiver.calls == ["bad"]
            await passes(d, dispatcher, 1.0)
            assert receiver.calls == ["bad", "bad"]
            assert await d.one("SELECT tries FROM lane") == 2


async def test_a_wall_clock_that_jumps_back_never_makes_a_wait_longer(sqlite_url):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        receiver.bad = {"bad": Retry("400", scope="lane", after=100.0)}
        async with d.dispatching(gate(receiver.sink, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "bad")
            await until(lambda: receiver.calls)
            await quiet(dispatcher)
        d.clock.wall -= 365 * 86400
        receiver.bad = {}
        async with d.dispatching(gate(receiver.sink, clock=d.clock)) as dispatcher:
            await passes(d, dispatcher, 100.0)
            await until(lambda: receiver.took == ["bad"])


async def test_a_receiver_that_wants_nothing_more_pauses_the_plugin_over_restarts(
    store_url,
):
    async with desk(store_url) as d:
        receiver = Receiver()
        receiver.down = Pause("410 Gone")
        ops = gate(receiver.sink, clock=d.clock, digest="a")
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "one")
            await until(lambda: ops.state().state == "paused")
            await quiet(dispatcher)
            state = ops.state()
            assert (state.reason, state.waiting_lanes) == ("410 Gone", 1)
        receiver.down = None
        same = gate(receiver.sink, clock=d.clock, digest="a")
        async with d.dispatching(same) as dispatcher:
            await passes(d, dispatcher, 3600.0, steps=5)
            assert (same.state().state, same.state().reason) == ("paused", "410 Gone")
            assert len(receiver.calls) == 1
        other = gate(receiver.sink, clock=d.clock, digest="other settings")
        async with d.dispatching(other):
            await until(lambda: receiver.took == ["one"])
        assert await d.rows("SELECT state, settings_digest FROM plugin") == [
            ("up", "other settings")
        ]


async def test_a_person_pauses_and_resumes_a_plugin(sqlite_url):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        ops = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            ops.pause("paused by a person")
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
            assert await d.one("SELECT state FROM plugin") == "paused"
            assert receiver.calls == []
            ops.resume()
            await until(lambda: receiver.took == ["one"])
            await quiet(dispatcher)
            assert await d.one("SELECT state FROM plugin") == "up"


async def test_one_look_of_the_store_tells_a_plugin_of_all_sources_how_it_is(
    sqlite_url,
):
    async with desk(sqlite_url) as d:
        e = await desk_of(d.store, d.clock, "other", "azure")
        ops = gate(Recorder(), clock=d.clock)
        async with d.dispatching(ops) as first, e.dispatching(ops) as second:
            await quiet(first)
            await quiet(second)
            with statements_noted() as given:
                await passes(d, first, 10.5)
                await quiet(second)
            looks = [what for what, _ in given if "FROM plugin" in what]
            assert len(looks) == 1
            with statements_noted() as given:
                await passes(d, first, 10.5)
                await quiet(second)
            assert len([what for what, _ in given if "FROM plugin" in what]) == 1


async def test_a_pause_on_another_replica_is_noticed(sqlite_url):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        ops = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await quiet(dispatcher)
            await d.store.carrier.write(
                lambda c: (
                    c.exec_driver_sql(
                        "UPDATE plugin SET state = 'paused', reason = 'elsewhere'"
                    ).rowcount
                )
            )
            await passes(d, dispatcher, 11.0)
            assert ops.state().reason == "elsewhere"


async def test_what_waited_too_long_becomes_one_dead_letter_for_each_lane(store_url):
    async with desk(store_url) as d:
        tally, receiver = Tally(), Receiver()
        receiver.down = Retry("connection refused")
        ops = gate(receiver.sink, clock=d.clock, max_age=3600.0)
        async with d.dispatching(ops, observer=tally) as dispatcher:
            await d.tell("ftjob-1", *(f"old {n}" for n in range(20)))
            await d.tell("ftjob-2", "old too")
            await until(lambda: receiver.calls)
            await quiet(dispatcher)
            d.clock.advance(3000)
            await d.tell("ftjob-1", "young")
            await quiet(dispatcher)
            await passes(d, dispatcher, 700.0, steps=2)
            receiver.down = None
            await passes(d, dispatcher, 60.0)
            await until(lambda: receiver.took == ["young"])
        letters = await d.rows(
            "SELECT d.reason, d.last_sequence > d.first_sequence, d.event_id = f.id"
            " FROM dead_letter d JOIN event f ON f.position = d.first_position"
            " ORDER BY d.job_key"
        )
        assert [tuple(letter) for letter in letters] == [
            ("waited longer than 3600 s", True, True),
            ("waited longer than 3600 s", False, True),
        ]
        assert tally.burials == ["age", "age"]


YEAR = 365 * 86400.0


async def test_what_was_observed_by_a_clock_a_year_behind_is_not_too_old(store_url):
    async with desk(store_url) as d:
        receiver = Receiver()
        ops = gate(receiver.sink, clock=d.clock, max_age=3600.0)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "young")
            await until(lambda: receiver.took == ["young"])
            receiver.down = Retry("connection refused")
            await d.tell("ftjob-2", "before")
            # As by another replica, or until somebody sets this one's clock right.
            d.clock.wall -= YEAR
            await d.tell("ftjob-3", "a year behind")
            d.clock.wall += YEAR
            await d.tell("ftjob-4", "behind")
            await passes(d, dispatcher, 60.0)
            receiver.down = None
            await passes(d, dispatcher, 60.0)
            await until(lambda: len(receiver.took) == 4)
        assert await d.rows("SELECT * FROM dead_letter") == []


async def test_what_says_nothing_against_it_is_as_old_as_it_says(store_url):
    async with desk(store_url) as d:
        receiver = Receiver()
        receiver.down = Retry("connection refused")
        ops = gate(receiver.sink, clock=d.clock, max_age=3600.0)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "old")
            d.clock.wall += YEAR
            await d.tell("ftjob-2", "young")
            await passes(d, dispatcher, 60.0)
            receiver.down = None
            await passes(d, dispatcher, 60.0)
            await until(lambda: receiver.took == ["young"])
        assert len(await d.rows("SELECT * FROM dead_letter")) == 1


async def test_nothing_is_too_old_while_the_clocks_disagree(sqlite_url):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        receiver.down = Retry("connection refused")
        ops = gate(receiver.sink, clock=d.clock, max_age=3600.0)
        async with d.dispatching(ops, clock_agrees=lambda: False) as dispatcher:
            await d.tell("ftjob-1", "one")
            await until(lambda: receiver.calls)
            await passes(d, dispatcher, 86400.0, steps=3)
            receiver.down = None
            await passes(d, dispatcher, 60.0)
            await until(lambda: receiver.took == ["one"])
        assert await d.rows("SELECT * FROM dead_letter") == []


async def test_a_rate_is_never_exceeded_in_any_second(sqlite_url):
    async with desk(sqlite_url) as d:
        times = []
        sink = Recorder(lambda _: times.append(d.clock.monotonic()))
        ops = gate(sink, clock=d.clock, rate=10.0, concurrency=8)
        async with d.dispatching(ops) as dispatcher:
            await d.tell_all({f"ftjob-{n}": ["x"] for n in range(40)})
            while len(times) < 40:
                d.clock.advance(0.01)
                await asyncio.sleep(0.005)
            await quiet(dispatcher)
        for begin in times:
            # One may be noted late: a mark is written, in our time, before it goes out.
            # The gate's own test has the exact times.
            assert sum(begin <= at < begin + 1.0 for at in times) <= 10 + 1
        # Three seconds, and what the machine was slow meanwhile, twofold.
        assert times[-1] - times[0] < 15


async def test_a_reject_as_a_probe_shows_that_the_receiver_is_back(sqlite_url):
    async with desk(sqlite_url) as d:
        receiver = Receiver()
        receiver.down = Retry("connection refused")
        ops = gate(receiver.sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "bad", "good")
            await until(lambda: receiver.calls)
            await quiet(dispatcher)
            receiver.down, receiver.bad = None, {"bad": Reject("no")}
            await passes(d, dispatcher, 5.0)
            await until(lambda: receiver.took == ["good"])


def test_the_clock_of_the_tests_moves_only_when_told():
    clock = HandClock()
    assert clock.monotonic() == clock.monotonic()
