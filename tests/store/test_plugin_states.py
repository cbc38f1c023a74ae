"""How plugins are in a running process, as others see it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from support.dispatching import HandClock, Recorder, gate
from support.stores import open_desk
from tunewatch.app.conditions import Conditions
from tunewatch.store.plugin_states import PluginState, PluginStates


@pytest.fixture
async def desk(store_url):
    async with open_desk(store_url) as desk:
        yield desk


UP = PluginState("ops", "up", None, 10.0)
PROBING = PluginState("ops", "probing", "503", 20.0, 25.0)
PAUSED = "INSERT INTO plugin VALUES ('ops', '{state}', {reason}, 5.0, '')"


async def kept(desk, state, reason="NULL"):
    statement = text(PAUSED.format(state=state, reason=reason))
    await desk.store.carrier.write(lambda c: c.execute(statement))


async def test_what_a_process_tells_is_what_others_see(desk):
    await kept(desk, "up")
    assert await desk.store.reads.plugins() == [UP._replace(since=5.0)]
    await desk.store.plugin_states.tell([PROBING, UP._replace(name="other")])
    assert await desk.store.reads.plugins() == [PROBING, UP._replace(name="other")]
    await desk.store.plugin_states.forget()
    assert await desk.store.reads.plugins() == [UP._replace(since=5.0)]


async def test_a_pause_holds_whatever_a_process_says_of_its_own(desk):
    await kept(desk, "paused", "'410 Gone'")
    await desk.store.plugin_states.tell([PROBING])
    [one] = await desk.store.reads.plugins()
    assert (one.state, one.reason) == ("paused", "410 Gone")


async def test_a_process_that_is_gone_is_heard_no_more(desk):
    clock = desk.clock
    gone = PluginStates(desk.store.carrier, replica="gone", clock=clock)
    await gone.tell([PROBING])
    await desk.store.plugin_states.tell([UP])
    assert await desk.store.reads.plugins() == [UP]


async def test_of_many_processes_the_worst_is_seen(postgres_url):
    async with open_desk(postgres_url, owner="one") as first:
        await first.store.plugin_states.tell([UP])
        async with open_desk(postgres_url, owner="two", source="other") as second:
            await second.store.plugin_states.tell([PROBING])
            assert await first.store.reads.plugins() == [PROBING]
        # It gave its lease back: what it said is not true any more.
        assert await first.store.reads.plugins() == [UP]


async def test_it_is_told_when_it_changes_and_not_all_the_time(desk):
    clock = HandClock()
    ops = gate(Recorder(), clock=clock)
    told = []

    class Counting(PluginStates):
        async def tell(self, states):
            told.append(states[0].state)
            await super().tell(states)

    states = Counting(desk.store.carrier, replica="one", clock=clock)
    conditions = Conditions(gates={"ops": ops}, states=states, clock=clock)

    async def pass_time(seconds):
        for _ in range(seconds):
            clock.advance(1.0)
            await conditions.tell()

    await pass_time(100)
    assert told == ["up"]
    ops.failed(_permit(ops), "503", None)
    await pass_time(3)
    assert told == ["up", "probing"]
    [seen] = await desk.store.reads.plugins()
    assert seen.reason == "503"
    assert seen.retry_at == pytest.approx(ops.state().retry_at)
    ops.pause("410 Gone")
    await pass_time(100)
    ops.resume()
    await pass_time(1)
    assert told == ["up", "probing", "paused", "up"]
    await pass_time(3600)
    assert told[4:] == ["up"], "now and then, so that it is known to be true"


def _permit(ops):
    from tunewatch.dispatch.seats import Seat

    seat = Seat(wake=lambda: None)
    ops.join(seat)
    permit = ops.admit(seat)
    assert permit is not None
    return permit
