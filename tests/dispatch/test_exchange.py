"""Plugins that come and go at a dispatcher that runs: nobody else is held up."""

from __future__ import annotations

import asyncio

from support.dispatching import Recorder, desk, gate, passes, quiet, until
from tunewatch.plugin import Retry


class Stuck(Recorder):
    """A sink that takes an event in and does not answer until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.seen: list[str] = []

    async def deliver(self, delivery):
        self.seen.append(delivery.event.payload.message)
        await self.may.wait()
        return await super().deliver(delivery)


async def test_the_next_of_a_name_begins_where_the_one_before_ended(store_url):
    async with desk(store_url) as d:
        before, after, other = Recorder(), Recorder(), Recorder()
        old, new = gate(before, clock=d.clock), gate(after, clock=d.clock)
        beside = gate(other, name="other", clock=d.clock)
        async with d.dispatching(old, beside) as dispatcher:
            await d.tell("ftjob-1", "one", "two")
            await quiet(dispatcher)
            dispatcher.exchange([new, beside])
            await old.deserted()
            await d.tell("ftjob-1", "three")
            await until(lambda: after.got, "the next one hears")
            await quiet(dispatcher)
        assert before.texts == ["one", "two"]
        assert after.texts == ["three"]
        assert other.texts == ["one", "two", "three"]


async def test_what_is_out_at_others_comes_back_as_if_nothing_was(store_url):
    async with desk(store_url) as d:
        slow = Stuck()
        beside = gate(slow, name="slow", clock=d.clock)
        old, new = (gate(Recorder(), clock=d.clock) for _ in range(2))
        async with d.dispatching(old, beside) as dispatcher:
            await d.tell("ftjob-1", "one")
            await until(lambda: slow.seen, "it is out")
            dispatcher.exchange([new, beside])
            await old.deserted()
            assert slow.out == 0
            slow.may.set()
            await until(lambda: slow.got, "it came back")
            await quiet(dispatcher)
        assert slow.seen == slow.texts == ["one"]


async def test_a_call_that_hangs_is_broken_off_and_goes_out_again_by_the_next(
    store_url,
):
    async with desk(store_url) as d:
        hanging, after, other = Stuck(), Recorder(), Recorder()
        old, new = gate(hanging, clock=d.clock), gate(after, clock=d.clock)
        beside = gate(other, name="other", clock=d.clock)
        async with d.dispatching(old, beside) as dispatcher:
            first = await d.tell("ftjob-1", "one")
            await until(lambda: hanging.seen, "it is out")
            dispatcher.exchange([new, beside])
            await d.tell("ftjob-1", "two")
            await until(lambda: "two" in other.texts, "nobody else waits")
            assert not after.got, "what is out has its moment"
            while not after.got:
                d.clock.advance(0.5)
                await asyncio.sleep(0.001)
            await old.deserted()
            await quiet(dispatcher)
        assert hanging.got == []
        assert after.texts == ["one", "two"], "in order, and the first one again"
        ids = [delivery.event.id for delivery in after.got]
        assert ids[0] in {event.id for event in first.events}
        assert await d.rows("SELECT crashes FROM lane") == []


async def test_what_comes_back_in_its_moment_is_not_repeated(store_url):
    async with desk(store_url) as d:
        slow, after = Stuck(), Recorder()
        old, new = gate(slow, clock=d.clock), gate(after, clock=d.clock)
        async with d.dispatching(old) as dispatcher:
            await d.tell("ftjob-1", "one")
            await until(lambda: slow.seen, "it is out")
            dispatcher.exchange([new])
            await d.tell("ftjob-1", "two")
            slow.may.set()
            await until(lambda: after.got, "the next one goes on")
            await quiet(dispatcher)
        assert slow.texts == ["one"]
        assert after.texts == ["two"]


async def test_a_new_plugin_begins_at_the_newest_and_one_that_returns_where_it_was(
    store_url,
):
    async with desk(store_url) as d:
        first, late, again = Recorder(), Recorder(), Recorder()
        ops = gate(first, clock=d.clock)
        new = gate(late, name="new", clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
            dispatcher.exchange([ops, new])
            await d.tell("ftjob-2", "two")
            await until(lambda: "two" in first.texts, "it goes on")
            await quiet(dispatcher)
            dispatcher.exchange([new])
            await ops.deserted()
            await d.tell("ftjob-1", "three")
            await until(lambda: "three" in late.texts, "it is told")
            dispatcher.exchange([new, gate(again, clock=d.clock)])
            await until(lambda: again.got, "it catches up")
            await quiet(dispatcher)
        assert first.texts == ["one", "two"]
        assert "one" not in late.texts
        assert late.texts[-1] == "three"
        assert again.texts == ["three"]


async def test_the_last_word_counts_where_two_come_at_once(store_url):
    async with desk(store_url) as d:
        gates = [gate(Recorder(), clock=d.clock) for _ in range(4)]
        async with d.dispatching(gates[0]) as dispatcher:
            for one in gates[1:]:
                dispatcher.exchange([one])
            await d.tell("ftjob-1", "one")
            await gates[0].deserted()
            await until(lambda: gates[3].target.got, "the last one hears")
            await quiet(dispatcher)
        told = [one.target.texts for one in gates]
        assert told == [[], [], [], ["one"]]


async def test_what_a_lane_waits_for_it_waits_for_still(store_url):
    async with desk(store_url) as d:

        def shy(_delivery):
            raise Retry("not this one", scope="event")

        before, after = Recorder(shy), Recorder()
        old, new = gate(before, clock=d.clock), gate(after, clock=d.clock)
        async with d.dispatching(old) as dispatcher:
            await d.tell("ftjob-1", "one")
            await until(lambda: before.most_out, "it was tried")
            await quiet(dispatcher)
            dispatcher.exchange([new])
            await old.deserted()
            await quiet(dispatcher)
            assert after.got == []
            await passes(d, dispatcher, 10.0, steps=4)
            await until(lambda: after.got, "its time has come")
            await quiet(dispatcher)
        assert after.texts == ["one"]
        assert after.got[0].attempt == 2
