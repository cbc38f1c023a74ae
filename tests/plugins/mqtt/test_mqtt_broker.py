"""Publishing to a real mosquitto: what arrives, and what a refusal is taken for."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator

import pytest

from support.certificates import Authority
from support.mosquitto_server import Mosquitto, listening, mosquitto
from support.mqtt_opening import Lent, opened
from tunewatch.plugin import Delivery, Reject, Retry
from tunewatch.testing import examples

PASSWORD = "correct-horse"


def succeeded() -> Delivery:
    (found,) = [
        one
        for one in examples.deliveries()
        if one.event.type == "fine_tuning.job.succeeded"
    ]
    return found


TOPIC = "tunewatch/v1/research/jobs/ftjob-example/events/fine_tuning.job.succeeded"


async def refused(table: dict[str, object], lent: Lent) -> Retry:
    """Open, deliver once and return why that did not work."""
    async with opened(table, lent) as plugin:
        with pytest.raises(Retry) as caught:
            await plugin.deliver(succeeded())
    return caught.value


async def test_a_receiver_gets_the_event_s_own_bytes_and_what_they_are(broker, lent):
    delivery = succeeded()
    async with (
        listening(broker.port, "tunewatch/#") as listener,
        opened({"url": broker.url}, lent) as plugin,
    ):
        receipt = await plugin.deliver(delivery)
        heard = await listener.until(TOPIC)
    assert heard.payload == delivery.body
    assert heard.content_type == "application/json"
    assert heard.properties == {
        "event-id": delivery.event.id,
        "event-type": "fine_tuning.job.succeeded",
    }
    assert not heard.is_retained
    assert (receipt.status, receipt.answer) == (0, "Success")


async def test_that_nobody_has_subscribed_is_no_failure(broker, lent):
    async with opened({"url": broker.url, "prefix": "nobody/hears"}, lent) as plugin:
        receipt = await plugin.deliver(succeeded())
    assert receipt.status == 0x10
    assert "no matching subscribers" in receipt.answer.lower()


async def test_the_older_protocol_carries_the_same_bytes_without_properties(
    broker, lent
):
    delivery = succeeded()
    table = {"url": broker.url, "protocol": "3.1.1", "prefix": "old"}
    async with (
        listening(broker.port, "old/#") as listener,
        opened(table, lent) as plugin,
    ):
        await plugin.deliver(delivery)
        heard = await listener.until(TOPIC.replace("tunewatch/", "old/", 1))
    assert heard.payload == delivery.body
    assert heard.properties == {}


async def test_a_cloudevent_is_in_the_payload_or_in_the_properties(broker, lent):
    delivery = succeeded()
    whole = {"url": broker.url, "format": "cloudevents", "prefix": "ce"}
    async with listening(broker.port, "ce/#") as listener:
        async with opened(whole, lent) as plugin:
            await plugin.deliver(delivery)
        structured = await listener.until(TOPIC.replace("tunewatch/", "ce/", 1))
        listener.heard.clear()
        async with opened({**whole, "mode": "binary"}, lent) as plugin:
            await plugin.deliver(delivery)
        binary = await listener.until(TOPIC.replace("tunewatch/", "ce/", 1))
    assert structured.content_type == "application/cloudevents+json"
    said = structured.json()
    assert (said["specversion"], said["id"]) == ("1.0", delivery.event.id)
    assert said["data"] == json.loads(delivery.body)["data"]
    assert binary.content_type == "application/json"
    assert binary.json() == said["data"]
    attributes = {key: said[key] for key in said if key not in _OF_THE_FORMAT}
    assert {**binary.properties, **attributes} == binary.properties
    assert binary.properties["source"] == "openai#research"


_OF_THE_FORMAT = {"data", "datacontenttype"}


async def test_many_are_on_their_way_at_once_and_each_gets_its_own_answer(broker, lent):
    deliveries = examples.deliveries() * 40
    async with opened({"url": broker.url}, lent) as plugin, asyncio.TaskGroup() as all_:
        tasks = [all_.create_task(plugin.deliver(one)) for one in deliveries]
    assert len(tasks) > 512
    assert {task.result().status for task in tasks} <= {0, 0x10}


async def test_no_more_are_on_their_way_than_the_broker_takes(tmp_path, lent):
    few = ("allow_anonymous true", "max_inflight_messages 2", "log_type all")
    with mosquitto(tmp_path / "few", *few) as broker:
        async with (
            opened({"url": broker.url}, lent) as plugin,
            asyncio.TaskGroup() as all_,
        ):
            for one in examples.deliveries() * 5:
                all_.create_task(plugin.deliver(one))
        assert "exceeded" not in broker.log.lower()
    assert "mqtt.broker_gone" not in lent.words


async def test_an_event_that_is_too_big_for_the_broker_is_its_own_trouble(
    tmp_path, lent
):
    small = ("allow_anonymous true", "max_packet_size 20000")
    with mosquitto(tmp_path / "small", *small) as broker:
        async with opened({"url": broker.url}, lent) as plugin:
            with pytest.raises(Retry, match="takes packets of up to 20,000") as caught:
                await plugin.deliver(examples.big_delivery())
            await plugin.deliver(succeeded())
    assert caught.value.scope == "lane"


async def test_a_topic_that_mqtt_cannot_say_is_a_dead_letter(broker, lent):
    async with opened({"url": broker.url, "prefix": "p" * 66_000}, lent) as plugin:
        with pytest.raises((Reject, Retry)) as caught:
            await plugin.deliver(succeeded())
    assert isinstance(caught.value, Reject)


# Who may -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Lend a broker with passwords and access rules."""
    home = tmp_path_factory.mktemp("guarded")
    for name in ("watch", "limited"):
        flags = ["-b"] if (home / "passwords").exists() else ["-b", "-c"]
        command = ["mosquitto_passwd", *flags, "passwords", name, PASSWORD]
        subprocess.run(command, cwd=home, check=True, capture_output=True)
    (home / "rules").write_text(
        "user watch\ntopic readwrite #\n"
        "user limited\ntopic readwrite tunewatch/v1/status/#\n"
        "topic write tunewatch/v1/+/jobs/+/events/tunewatch.job.discovered\n"
    )
    settings = (
        "allow_anonymous false",
        f"password_file {home / 'passwords'}",
        f"acl_file {home / 'rules'}",
    )
    with mosquitto(home, *settings) as broker:
        yield broker


def as_user(
    broker: Mosquitto, name: str, password: str = PASSWORD
) -> dict[str, object]:
    return {"url": broker.url, "username": name, "password": password}


async def test_a_user_with_the_right_password_may_publish(guarded, lent):
    async with opened(as_user(guarded, "watch"), lent) as plugin:
        await plugin.deliver(succeeded())
    assert "mqtt.password_in_the_clear" in lent.words


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_wrong_password_is_trouble_of_the_broker_and_told(
    guarded, lent, protocol
):
    table = {**as_user(guarded, "watch", "wrong-canary"), "protocol": protocol}
    trouble = await refused(table, lent)
    assert trouble.scope == "plugin"
    assert "it refuses us: not authorized" in trouble.reason
    assert "canary" not in trouble.reason + str(lent.log.entries)


async def test_a_password_that_is_put_right_in_its_file_counts_without_a_restart(
    guarded, lent, tmp_path
):
    file = tmp_path / "password"
    file.write_text("wrong")
    table = {"url": guarded.url, "username": "watch", "password_file": str(file)}
    async with opened(table, lent) as plugin:
        with pytest.raises(Retry):
            await plugin.deliver(succeeded())
        file.write_text(PASSWORD)
        await plugin.deliver(succeeded())
    assert [word for word in lent.words if "broker" in word] == [
        "mqtt.broker_gone",
        "mqtt.broker_back",
    ]


async def test_an_event_that_the_access_rules_refuse_is_not_delivered(guarded, lent):
    discovered, *_ = examples.deliveries()
    async with opened(as_user(guarded, "limited"), lent) as plugin:
        await plugin.deliver(discovered)
        with pytest.raises(Retry, match="not authorized") as caught:
            await plugin.deliver(succeeded())
        await plugin.deliver(discovered)
    assert caught.value.scope == "plugin"
    assert caught.value.receipt is not None
    assert caught.value.receipt.status == 0x87
    assert TOPIC in caught.value.reason


# TLS -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.founded(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def encrypted(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Mosquitto]:
    """Lend a broker that wants a certificate to be shown."""
    papers = authority.issue("localhost", stem="broker-")
    settings = (
        "allow_anonymous true",
        f"cafile {papers.authority}",
        f"certfile {papers.certificate}",
        f"keyfile {papers.key}",
        "require_certificate true",
    )
    with mosquitto(tmp_path_factory.mktemp("encrypted"), *settings) as broker:
        yield broker


@pytest.fixture
def ours(authority: Authority) -> str:
    papers = authority.issue("tunewatch", stem="ours-")
    return papers.certificate.read_text() + papers.key.read_text()


async def test_by_tls_with_a_certificate_of_our_own(encrypted, authority, ours, lent):
    table = {
        "url": f"mqtts://localhost:{encrypted.port}",
        "ca_file": str(authority.certificate),
        "client_cert": ours,
    }
    async with opened(table, lent) as plugin:
        await plugin.deliver(succeeded())
    assert lent.words == []


async def test_a_renewed_authority_or_certificate_counts_at_the_next_connecting(
    encrypted, authority, ours, lent, tmp_path
):
    trusted, shown = tmp_path / "authorities.pem", tmp_path / "ours.pem"
    stranger = Authority.founded(tmp_path / "stranger")
    theirs = stranger.issue("tunewatch")
    trusted.write_text(stranger.certificate.read_text())
    shown.write_text(theirs.certificate.read_text() + theirs.key.read_text())
    table = {
        "url": f"mqtts://localhost:{encrypted.port}",
        "ca_file": str(trusted),
        "client_cert_file": str(shown),
    }
    async with opened(table, lent) as plugin:
        with pytest.raises(Retry, match="its certificate is refused"):
            await plugin.deliver(succeeded())
        trusted.write_text(authority.certificate.read_text())
        with pytest.raises(Retry, match="no broker at") as caught:
            await plugin.deliver(succeeded())
        assert "its certificate is refused" not in caught.value.reason
        shown.write_text("half of it")
        with pytest.raises(Retry):
            await plugin.deliver(succeeded())
        shown.write_text(ours)
        await plugin.deliver(succeeded())
    assert lent.words == [
        "mqtt.broker_gone",
        "mqtt.setting_unusable",
        "mqtt.setting_restored",
        "mqtt.broker_back",
    ]


async def test_a_broker_whose_certificate_is_not_to_be_trusted_gets_nothing(
    encrypted, authority, ours, lent
):
    url = f"mqtts://localhost:{encrypted.port}"
    trouble = await refused({"url": url, "client_cert": ours}, lent)
    assert "its certificate is refused" in trouble.reason
    table = {"ca_file": str(authority.certificate), "client_cert": ours}
    url = f"mqtts://127.0.0.1:{encrypted.port}"  # the name is not this address's
    trouble = await refused({"url": url, **table}, lent)
    assert "its certificate is refused" in trouble.reason


async def test_without_a_certificate_the_broker_refuses_us(encrypted, authority, lent):
    table = {
        "url": f"mqtts://localhost:{encrypted.port}",
        "ca_file": str(authority.certificate),
    }
    trouble = await refused(table, lent)
    assert trouble.scope == "plugin"


async def test_a_broker_that_speaks_no_tls_is_told_apart(broker, lent):
    trouble = await refused({"url": f"mqtts://localhost:{broker.port}"}, lent)
    assert f"no broker at localhost:{broker.port}" in trouble.reason
