"""MQTT 3.1.1: what matters holds there as well, as far as it can be said."""

from __future__ import annotations

import json

import pytest

from support.acknowledgements import watched
from support.certificates import issued
from support.dispatching import until
from support.job_rows import job_row
from support.mosquitto_server import Listener, listening, mosquitto, retained
from support.mqtt_opening import Lent, opened
from tunewatch.testing import examples

STATE = "tunewatch/v1/research/jobs/ftjob-1/state"
STATUS = "tunewatch/v1/status/#"


@pytest.fixture
def own(tmp_path):
    """Lend a broker at which nothing stands yet and that may be ended."""
    with mosquitto(tmp_path / "own") as broker:
        yield broker


def older(url: str, **more: object) -> dict[str, object]:
    return {"url": url, "protocol": "3.1.1", **more}


async def test_a_late_subscriber_is_told_states_sensors_and_availability(own, lent):
    lent.jobs.rows = [job_row()]
    async with (
        listening(own.port, "homeassistant/#") as listener,
        opened(older(own.url, home_assistant=True), lent),
    ):
        while len([one for one in listener.heard if "sensor" in one.topic]) < 5:
            await listener.next()
        found = await retained(own.port, "#")
        assert json.loads(found[STATE])["status"] == "running"
        assert len([one for one in found if "homeassistant/sensor/" in one]) == 5
        assert list((await retained(own.port, STATUS)).values()) == [b"online"]
    assert list((await retained(own.port, STATUS)).values()) == [b"offline"]


async def test_what_an_earlier_life_left_over_is_cleared(own, lent, tmp_path):
    lent.jobs.rows = [job_row()]
    async with (
        listening(own.port, STATE) as listener,
        opened(older(own.url), lent),
    ):
        await listener.until(STATE)
    later = Lent(tmp_path / "later")
    later.jobs.rows = [job_row("ftjob-2")]
    async with (
        listening(own.port, STATE) as listener,
        opened(older(own.url), later),
    ):
        await listener.until(STATE, b"")
    assert STATE not in await retained(own.port, "tunewatch/#")


async def test_the_last_will_speaks_when_a_connection_breaks_and_it_comes_back(
    own, lent
):
    (delivery, *_) = examples.deliveries()
    async with watched(own.port) as way, listening(own.port, STATUS) as listener:
        url = f"mqtt://127.0.0.1:{way.port}"
        async with opened(older(url), lent) as plugin:
            while not spoken(listener):
                await listener.next()
            way.cut()
            await plugin.deliver(delivery)
            while len(said := spoken(listener)) < 3:
                await listener.next()
            assert said == [b"online", b"offline", b"online"]
    assert delivery.event.id in way.acknowledged
    assert lent.words == ["mqtt.broker_gone", "mqtt.broker_back"]


def spoken(listener: Listener) -> list[bytes]:
    """Return what was said of being there, in order."""
    return [one.payload for one in listener.heard if "/status/" in one.topic]


async def test_a_silent_network_is_noticed(own, lent):
    async with opened(older(own.url, keepalive="1s"), lent) as plugin:
        own.freeze()
        try:
            await until(lambda: lent.said("mqtt.broker_gone"))
        finally:
            own.thaw()
        await plugin.deliver(examples.deliveries()[0])


async def test_two_replicas_do_not_throw_each_other_out(own, lent):
    (delivery, *_) = examples.deliveries()
    table = older(own.url)
    async with opened(table, lent) as one, opened(table, lent) as other:
        for _ in range(3):
            await one.deliver(delivery)
            await other.deliver(delivery)
        assert len(await retained(own.port, STATUS)) == 2
    assert lent.words == []


async def test_it_goes_by_tls(tmp_path, lent):
    papers = issued(tmp_path / "papers", name="localhost")
    settings = (
        "allow_anonymous true",
        f"certfile {papers.certificate}",
        f"keyfile {papers.key}",
    )
    with mosquitto(tmp_path / "encrypted", *settings) as broker:
        url = f"mqtts://localhost:{broker.port}"
        async with opened(older(url, ca_file=str(papers.authority)), lent) as plugin:
            await plugin.deliver(examples.deliveries()[0])
    assert lent.words == []
