"""A broker that goes away: said once, made good by itself, nothing taken for done."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from support.acknowledgements import watched
from support.dispatching import until
from support.job_rows import job_row
from support.mosquitto_server import listening, mosquitto, retained
from support.mqtt_opening import Lent, opened
from tunewatch.plugin import Delivery, Retry
from tunewatch.testing import examples
from tunewatch_plugins.mqtt.sink import Mqtt

KILLS = 50
LANES = 8


@pytest.fixture
def own(tmp_path):
    """Lend a broker that may be ended."""
    with mosquitto(tmp_path / "own") as broker:
        yield broker


def numbered(lane: int, number: int) -> Delivery:
    (delivery, *_) = examples.deliveries()
    event = delivery.event
    common = replace(event.common, id=f"ftjob-{lane}", sequence=number)
    return examples.delivery_of(
        replace(event, id=f"evt_{lane}_{number}", common=common)
    )


async def until_taken(plugin: Mqtt, delivery: Delivery) -> None:
    """Deliver as often as it takes, as the dispatcher does, but without its waits."""
    while True:
        try:
            await plugin.deliver(delivery)
        except Retry:
            await asyncio.sleep(0.01)
        else:
            return


async def test_a_broker_that_is_away_is_said_once_and_its_return_once(own, lent):
    (delivery, *_) = examples.deliveries()
    async with opened({"url": own.url}, lent) as plugin:
        await plugin.deliver(delivery)
        own.kill()
        for _ in range(3):
            with pytest.raises(Retry, match="connection refused"):
                await plugin.deliver(delivery)
        own.start()
        await plugin.deliver(delivery)
    assert lent.words == ["mqtt.broker_gone", "mqtt.broker_back"]


async def test_it_opens_without_a_broker_and_delivers_when_there_is_one(own, lent):
    (delivery, *_) = examples.deliveries()
    own.kill()
    async with opened({"url": own.url}, lent) as plugin:
        with pytest.raises(Retry, match=f"no broker at 127.0.0.1:{own.port}"):
            await plugin.deliver(delivery)
        own.start()
        await plugin.deliver(delivery)


async def test_it_comes_back_by_itself_though_nothing_is_to_be_delivered(own, lent):
    async with opened({"url": own.url}, lent):
        own.kill()
        own.start()
        async with listening(own.port, "tunewatch/v1/status/#") as listener:
            while not any(one.payload == b"online" for one in listener.heard):
                await listener.next()
    assert lent.words == ["mqtt.broker_gone", "mqtt.broker_back"]


async def test_what_was_on_its_way_when_a_connection_broke_goes_out_once_more(
    own, lent
):
    (delivery, *_) = examples.deliveries()
    async with watched(own.port) as way:
        url = f"mqtt://127.0.0.1:{way.port}"
        async with (
            opened({"url": url}, lent) as plugin,
            asyncio.TaskGroup() as tasks,
        ):
            way.hold()
            task = tasks.create_task(plugin.deliver(delivery))
            await way.until_held()
            way.cut()
            await task
        assert way.published[delivery.event.id] == 2
        assert delivery.event.id in way.acknowledged


async def test_a_broker_that_does_not_answer_is_given_up_in_time(own, tmp_path):
    lent = Lent(tmp_path / "bus", timeout=0.9)
    (delivery, *_) = examples.deliveries()
    async with opened({"url": own.url}, lent) as plugin:
        await plugin.deliver(delivery)
        own.freeze()
        try:
            with pytest.raises(Retry, match=r"no acknowledgement .* within 0\.6 s"):
                await plugin.deliver(delivery)
        finally:
            own.thaw()
        await until_taken(plugin, delivery)


async def test_a_network_that_falls_silent_is_noticed_though_nothing_is_to_be_sent(
    own, lent
):
    async with opened({"url": own.url, "keepalive": "1s"}, lent) as plugin:
        await plugin.deliver(examples.deliveries()[0])
        own.freeze()
        try:
            await until(lambda: lent.said("mqtt.broker_gone"))
        finally:
            own.thaw()
        await plugin.deliver(examples.deliveries()[0])
    assert lent.words == ["mqtt.broker_gone", "mqtt.broker_back"]


async def test_a_broker_that_does_not_answer_holds_up_no_stop(own, lent):
    async with asyncio.timeout(8), opened({"url": own.url}, lent) as plugin:
        await plugin.deliver(examples.deliveries()[0])
        lent.jobs.rows = [job_row()]
        own.freeze()
    own.thaw()


async def test_who_closes_without_a_word_is_not_waited_for(lent):
    async def close(_: object, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(3):  # a connection is given 5 s to be answered
            async with opened({"url": f"mqtt://127.0.0.1:{port}"}, lent) as plugin:
                with pytest.raises(Retry, match="closed by the broker"):
                    await plugin.deliver(examples.deliveries()[0])


async def test_a_broker_killed_fifty_times_under_load_has_acknowledged_all(own, lent):
    done = asyncio.Event()
    taken = 0

    async def work(lane: int) -> None:
        nonlocal taken
        number = 0
        while not done.is_set():
            number += 1
            delivery = numbered(lane, number)
            await until_taken(plugin, delivery)
            # Not before: that would be a mark without an acknowledgement.
            assert delivery.event.id in way.acknowledged
            taken += 1

    async def kill() -> None:
        for _ in range(KILLS):
            goal = taken + 2 * LANES
            await until(lambda goal=goal: taken >= goal)
            await asyncio.to_thread(own.kill)
            await asyncio.to_thread(own.start)
        done.set()

    async with watched(own.port) as way:
        url = f"mqtt://127.0.0.1:{way.port}"
        async with opened({"url": url}, lent) as plugin, asyncio.TaskGroup() as tasks:
            tasks.create_task(kill())
            for lane in range(LANES):
                tasks.create_task(work(lane))
    assert taken >= KILLS * 2 * LANES
    assert set(way.published) == way.acknowledged
    assert lent.words.count("mqtt.broker_gone") <= KILLS + 1
    assert not [word for word in lent.words if "failed" in word]


# Replicas ------------------------------------------------------------------------


async def test_two_replicas_in_one_state_directory_do_not_throw_each_other_out(
    own, lent
):
    (delivery, *_) = examples.deliveries()
    table = {"url": own.url}
    lent.jobs.rows = [job_row()]
    async with opened(table, lent) as one, opened(table, lent) as other:
        for _ in range(3):
            await one.deliver(delivery)
            await other.deliver(delivery)
        online = await retained(own.port, "tunewatch/v1/status/#")
        assert list(online.values()) == [b"online", b"online"]
    assert lent.words == []
    offline = await retained(own.port, "tunewatch/v1/status/#")
    assert offline == dict.fromkeys(online, b"offline")


async def test_whom_a_stranger_throws_out_by_its_own_client_id_comes_back(own, lent):
    async with opened({"url": own.url}, lent) as plugin:
        (status,) = await retained(own.port, "tunewatch/v1/status/#")
        ours = f"tunewatch-bus-{status.rpartition('/')[2]}"
        async with listening(own.port, id=ours):
            await until(lambda: lent.said("mqtt.broker_gone"))
        await plugin.deliver(examples.deliveries()[0])
    assert lent.words[:2] == ["mqtt.broker_gone", "mqtt.broker_back"]


async def test_a_replica_has_the_same_name_after_a_restart(own, lent):
    lent.jobs.rows = [job_row()]
    for _ in range(2):
        async with opened({"url": own.url}, lent):
            pass
    assert len(await retained(own.port, "tunewatch/v1/status/#")) == 1


async def test_who_kept_no_state_leaves_no_trace(own, lent):
    async with opened({"url": own.url}, lent) as plugin:
        await plugin.deliver(examples.deliveries()[0])
        assert len(await retained(own.port, "#")) == 1
    assert await retained(own.port, "#") == {}


async def test_who_cannot_write_has_a_name_all_the_same(own, tmp_path):
    directory = tmp_path / "file"
    lent = Lent(directory)
    lent.jobs.rows = [job_row()]
    async with opened({"url": own.url}, lent):
        pass
    (directory / "replica-1").unlink()
    (directory / "replica-1").mkdir()
    async with opened({"url": own.url}, lent):
        pass
    assert len(await retained(own.port, "tunewatch/v1/status/#")) == 2
