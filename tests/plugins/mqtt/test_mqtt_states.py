"""What stands at the broker: states, sensors, and none that nobody knows any more."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import jinja2
import pytest

from support.job_rows import job_row, selection
from support.mosquitto_server import Listener, listening, mosquitto, retained
from support.mqtt_opening import Lent, opened
from tunewatch.testing import examples

STATES = "tunewatch/v1/+/jobs/+/state"
STATE = "tunewatch/v1/research/jobs/ftjob-1/state"


@pytest.fixture
def own(tmp_path):
    """Lend a broker at which nothing stands yet."""
    with mosquitto(tmp_path / "own") as broker:
        yield broker


async def happens(plugin: Any) -> None:
    """Deliver an event, after which states are looked at."""
    await plugin.deliver(examples.deliveries()[0])


async def test_a_late_subscriber_is_told_how_each_job_is_and_after_which_event(
    own, lent
):
    running = job_row(sequence=417, selection=selection(0.25), job={"suffix": "good"})
    lent.jobs.rows = [running, job_row("ftjob-2", "failed", sequence=3)]
    async with (
        listening(own.port, STATES) as listener,
        opened({"url": own.url}, lent),
    ):
        await listener.until(STATE)
        await listener.until(STATE.replace("-1/", "-2/"))
        found = await retained(own.port, STATES)
    assert len(found) == 2
    state = json.loads(found[STATE])
    assert (state["object"], state["id"]) == ("job.state", "ftjob-1")
    assert (state["status"], state["sequence"]) == ("running", 417)
    assert (state["step"], state["total_steps"], state["progress"]) == (150, 300, 50)
    assert state["metrics"]["train_loss"] == 0.25
    assert state["best"]["step"] == 200
    assert state["suffix"] == "good"


async def test_a_state_follows_its_job_and_is_published_only_when_it_is_another(
    own, lent
):
    lent.jobs.rows = [job_row(sequence=1), job_row("ftjob-2", sequence=1)]
    async with (
        listening(own.port, STATES) as listener,
        opened({"url": own.url}, lent) as plugin,
    ):
        await listener.until(STATE)
        lent.jobs.rows[0] = job_row(status="succeeded", sequence=2)
        await happens(plugin)
        while json.loads(listener.on(STATE)[-1].payload)["status"] != "succeeded":
            await listener.next()
        await listener.quiet()
    sequences = [one.json()["sequence"] for one in listener.on(STATE)]
    assert sequences == [1, 2]
    assert len(listener.on(STATE.replace("-1/", "-2/"))) == 1


async def test_the_last_change_before_a_stop_is_published(own, lent):
    lent.jobs.rows = [job_row(sequence=1)]
    async with (
        listening(own.port, STATES) as listener,
        opened({"url": own.url}, lent) as plugin,
    ):
        await listener.until(STATE)
        lent.jobs.rows = [job_row(status="succeeded", sequence=2)]
        await happens(plugin)
    found = await retained(own.port, STATES)
    assert json.loads(found[STATE])["sequence"] == 2


async def test_a_state_is_cleared_when_its_job_leaves_the_window(own, lent):
    lent.jobs.rows = [job_row(), job_row("ftjob-2")]
    async with (
        listening(own.port, STATES) as listener,
        opened({"url": own.url}, lent) as plugin,
    ):
        await listener.until(STATE)
        del lent.jobs.rows[0]
        await happens(plugin)
        await listener.until(STATE, b"")
        assert list(await retained(own.port, STATES)) == [STATE.replace("-1/", "-2/")]


async def test_states_that_were_left_over_by_an_earlier_life_are_cleared(
    own, lent, tmp_path
):
    odd = job_row("ft/job+1")
    lent.jobs.rows = [job_row(), job_row("ftjob-2"), odd, job_row(source="product")]
    async with opened({"url": own.url}, lent) as plugin:
        await happens(plugin)
    assert len(await retained(own.port, STATES)) == 4
    later = Lent(tmp_path / "bus")
    later.jobs.rows = [job_row("ftjob-2")]
    async with (
        listening(own.port, STATES) as listener,
        opened({"url": own.url}, later),
    ):
        await listener.until(STATE, b"")
        await listener.until(STATE.replace("ftjob-1", "ft%2Fjob%2B1"), b"")
        left = await retained(own.port, STATES)
    # Of the other source somebody else takes care, or nobody yet.
    assert set(left) == {
        STATE.replace("-1/", "-2/"),
        STATE.replace("research", "product"),
    }


async def test_a_source_that_went_to_another_replica_keeps_its_states(own, lent):
    lent.jobs.rows = [job_row(), job_row(source="product")]
    async with (
        listening(own.port, STATES) as listener,
        opened({"url": own.url}, lent) as plugin,
    ):
        await listener.until(STATE.replace("research", "product"))
        lent.jobs.rows = [job_row(sequence=9)]
        await happens(plugin)
        while len(listener.on(STATE)) < 2:
            await listener.next()
        await listener.quiet()
        assert len(await retained(own.port, STATES)) == 2


async def test_a_replica_that_takes_a_source_over_publishes_its_states(own, lent):
    async with (
        listening(own.port, STATES) as listener,
        opened({"url": own.url}, lent),
    ):
        lent.jobs.rows = [job_row(sequence=417)]  # and nothing happens to it
        state = await listener.until(STATE)
    assert state.json()["sequence"] == 417


async def test_a_broker_that_forgot_everything_is_told_everything_again(own, lent):
    lent.jobs.rows = [job_row(sequence=417)]
    async with opened({"url": own.url}, lent) as plugin:
        await happens(plugin)
        own.kill()
        own.start()
        async with listening(own.port, "tunewatch/#") as listener:
            state = await listener.until(STATE)
    assert state.json()["sequence"] == 417


async def test_states_that_may_not_be_published_keep_no_event_from_its_way(
    tmp_path, lent
):
    rules = tmp_path / "rules"
    rules.write_text("topic write tunewatch/v1/+/jobs/+/events/#\n")
    lent.jobs.rows = [job_row()]
    guarded = ("allow_anonymous true", f"acl_file {rules}")
    with mosquitto(tmp_path / "guarded", *guarded) as broker:
        async with opened({"url": broker.url}, lent) as plugin:
            await happens(plugin)
    assert "not authorized" in lent.said("mqtt.status_refused")[0]
    assert STATE in lent.said("mqtt.state_refused")[0]
    assert len(lent.said("mqtt.state_refused")) == 1


async def test_a_store_that_is_away_is_no_trouble_of_the_plugin(own, lent):
    lent.jobs.rows = [job_row(sequence=417)]
    lent.jobs.is_away = True
    async with (
        listening(own.port, STATES) as listener,
        opened({"url": own.url}, lent) as plugin,
    ):
        await happens(plugin)
        await listener.quiet()
        lent.jobs.is_away = False
        state = await listener.until(STATE)
    assert state.json()["sequence"] == 417
    assert not lent.said("mqtt.states_unreadable")
    assert not lent.said("mqtt.states_readable")


# Home Assistant --------------------------------------------------------------------

SENSORS = "homeassistant/sensor/#"


async def sensors(listener: Listener, count: int) -> dict[str, Any]:
    """Return what is announced, once there are so many sensors."""
    while len(_announced(listener)) != count:
        await listener.next()
    return _announced(listener)


def _announced(listener: Listener) -> dict[str, Any]:
    now = {one.topic: one.payload for one in listener.heard if "homeass" in one.topic}
    return {topic: json.loads(told) for topic, told in now.items() if told}


async def test_a_running_job_shows_up_as_sensors_until_it_has_ended(own, lent):
    lent.jobs.rows = [job_row(), job_row("ftjob-2", "succeeded")]
    async with (
        listening(own.port, SENSORS, "tunewatch/#") as listener,
        opened({"url": own.url, "home_assistant": True}, lent) as plugin,
    ):
        found = await sensors(listener, 5)
        state = (await listener.until(STATE)).json()
        shown = {told["name"]: rendered(told, state) for told in found.values()}
        assert shown == {
            "Status": "running",
            "Progress": "50.0",
            "Training loss": "0.25",
            "Validation loss": "0.5",
            "Full validation loss": "0.0531",
        }
        status = await retained(own.port, "tunewatch/v1/status/#")
        for told in found.values():
            assert told["state_topic"] == STATE
            assert {told["availability_topic"]: b"online"} == status
            assert told["device"]["name"] == "Fine-tuning pinolo"
            assert re.fullmatch(r"sensor\.[a-z0-9_]+", told["default_entity_id"])
            assert "object_id" not in told  # gone from Home Assistant since 2026.4
        assert len({told["unique_id"] for told in found.values()}) == 5
        lent.jobs.rows[0] = job_row(status="succeeded")
        await happens(plugin)
        await sensors(listener, 0)
        assert not await retained(own.port, SENSORS)


def rendered(told: dict[str, Any], state: dict[str, Any]) -> str:
    """Return what Home Assistant makes of a state: its templates are Jinja's."""
    return jinja2.Template(told["value_template"]).render(value_json=state)


async def test_a_job_that_learns_by_rewards_has_sensors_of_those(own, lent):
    graded = job_row(
        job={"method": {"type": "reinforcement"}}, latest={"train_mean_reward": 0.75}
    )
    lent.jobs.rows = [graded]
    async with (
        listening(own.port, SENSORS, "tunewatch/#") as listener,
        opened({"url": own.url, "home_assistant": True}, lent),
    ):
        found = await sensors(listener, 5)
        state = (await listener.until(STATE)).json()
    shown = {told["name"]: rendered(told, state) for told in found.values()}
    assert shown["Training reward"] == "0.75"
    assert not [name for name in shown if "loss" in name]


async def test_sensors_of_a_job_that_ended_unseen_are_taken_back(own, lent, tmp_path):
    lent.jobs.rows = [job_row(), job_row("ftjob-2"), job_row("ftjob-3")]
    table = {"url": own.url, "home_assistant": True, "discovery_prefix": "ha/found"}
    async with opened(table, lent) as plugin:
        await happens(plugin)
    assert len(await retained(own.port, "ha/found/sensor/#")) == 15
    later = Lent(tmp_path / "bus")
    later.jobs.rows = [job_row(status="failed"), job_row("ftjob-2")]  # and one is gone
    async with opened(table, later):
        async with asyncio.timeout(20):
            while len(await retained(own.port, "ha/found/sensor/#")) != 5:
                pass


async def test_a_home_assistant_that_starts_is_told_all_sensors_again(own, lent):
    lent.jobs.rows = [job_row(), job_row("ftjob-2", "succeeded")]
    async with (
        listening(own.port, SENSORS) as listener,
        opened({"url": own.url, "home_assistant": True}, lent),
    ):
        await sensors(listener, 5)
        listener.heard.clear()
        await say(own.port, "homeassistant/status", "offline")
        await say(own.port, "homeassistant/status", "online")
        await sensors(listener, 5)


async def say(port: int, topic: str, word: str) -> None:
    """Publish as a stranger does."""
    command = ("mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-q", "1")
    process = await asyncio.create_subprocess_exec(*command, "-t", topic, "-m", word)
    assert await process.wait() == 0


async def test_a_metric_that_there_is_not_is_unknown_and_not_nought(own, lent):
    lent.jobs.rows = [job_row(latest={}, step=None, total_steps=None)]
    async with (
        listening(own.port, SENSORS, "tunewatch/#") as listener,
        opened({"url": own.url, "home_assistant": True}, lent),
    ):
        found = await sensors(listener, 5)
        state = (await listener.until(STATE)).json()
    shown = {told["name"]: rendered(told, state) for told in found.values()}
    # By this word an MQTT sensor is unknown.
    assert shown.pop("Status") == "running"
    assert set(shown.values()) == {"None"}
