"""The journal and a broker that is killed again and again: what the store may believe.

The real dispatcher on a real SQLite file, the real plugin and a real mosquitto; what
was acknowledged is read on the wire, and what was taken for delivered in the store.
"""

from __future__ import annotations

import asyncio

import pytest

from support.acknowledgements import FINISHED, Watched, watched
from support.dispatching import Desk, desk, gate, until
from support.mosquitto_server import mosquitto
from support.mqtt_opening import opened
from tunewatch.clock import FastClock

JOBS = 16
SPEED = 100.0  # the dispatcher's seconds per second: it waits 5 s before a probe


async def load(d: Desk, done: asyncio.Event, way: Watched) -> None:
    """Commit what all jobs say, over and over, a little ahead of what goes out."""
    told = 0
    while not done.is_set():
        await d.tell_all({f"ftjob-{n}": ["one", "two"] for n in range(JOBS)})
        told += 2 * JOBS
        ahead = told - 8 * JOBS
        await until(lambda ahead=ahead: len(way.acknowledged) > ahead or done.is_set())


@pytest.mark.parametrize(("protocol", "kills"), [("5", 50), ("3.1.1", 15)])
async def test_kills_of_the_broker_under_load_make_the_journal_forget_no_event(
    tmp_path, lent, caplog, protocol, kills
):
    done = asyncio.Event()

    async def finished() -> set[str]:
        return {name for (name,) in await d.rows(FINISHED, plugin="bus")}

    async def kill() -> None:
        for number in range(kills):
            goal = len(way.acknowledged) + JOBS
            await until(lambda goal=goal: len(way.acknowledged) >= goal)
            if number == 0:  # one that is sure to meet what is on its way
                way.hold()
                await way.until_held()
            await asyncio.to_thread(broker.kill)
            # Not before: that would be a mark without an acknowledgement.
            assert await finished() <= way.acknowledged
            if number == 0:
                way.cut()
            await asyncio.to_thread(broker.start)
        done.set()

    with mosquitto(tmp_path / "broker") as broker:
        async with (
            desk(f"sqlite:///{tmp_path / 'state.db'}", FastClock(SPEED)) as d,
            watched(broker.port) as way,
            opened(
                {"url": f"mqtt://127.0.0.1:{way.port}", "protocol": protocol}, lent
            ) as plugin,
        ):
            bus = gate(plugin, "bus", clock=d.clock, events=["*"], concurrency=64)
            async with d.dispatching(bus):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(kill(), name="kill")
                    tasks.create_task(load(d, done, way), name="load")
                committed = {name for (name,) in await d.rows("SELECT id FROM event")}
                await until(lambda: way.acknowledged >= committed)
            assert await finished() == committed == way.acknowledged
            assert await d.one("SELECT count(*) FROM dead_letter") == 0
    # Kills met what was on its way: it went out again.
    assert way.published.total() > len(committed)
    assert lent.words.count("mqtt.broker_gone") <= kills
    # The client library and the loop have nothing to add to that.
    heard = [one for one in caplog.records if one.name in ("mqtt", "asyncio")]
    assert [one.getMessage() for one in heard] == []
