"""Every plugin that comes with tunewatch passes the suite that strangers run."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from support.mosquitto_server import mosquitto
from support.wandb_server import KEY, WandbServer
from tunewatch.host import GROUP
from tunewatch.testing import Receiver, Reply
from tunewatch.testing.contract import ReactorContract, Rig, SinkContract, ViewContract
from tunewatch_plugins import best_checkpoint, mqtt, prometheus, wandb_run, webhook

SECRET = "whsec_" + "c2VjcmV0" * 6
PASSWORD = "correct-horse"


class TestWebhook(SinkContract):
    plugin = webhook.PLUGIN
    more: ClassVar[Mapping[str, Any]] = {}  #: settings

    @asynccontextmanager
    async def receiver(self) -> AsyncIterator[Rig]:
        server = Receiver(secrets=[SECRET])

        async def fail() -> None:
            server.usual = Reply(status=500)

        async def heal() -> None:
            server.usual = Reply()

        async with server.serve() as url:
            yield Rig(
                settings={
                    "url": url,
                    "secret": [SECRET],
                    "allow_hosts": ["127.0.0.1"],
                    **self.more,
                },
                fail=fail,
                heal=heal,
                received=lambda: len(server.received),
                secrets=(SECRET, SECRET.removeprefix("whsec_")),
            )


class TestWebhookAsCloudevent(TestWebhook):
    more: ClassVar = {"format": "cloudevents"}


class TestWebhookAsBinaryCloudevent(TestWebhook):
    more: ClassVar = {"format": "cloudevents", "mode": "binary"}


class TestWebhookOfThinEvents(TestWebhook):
    more: ClassVar = {"payload": "thin", "headers": {"X-Team": "research"}}


class TestMqtt(SinkContract):
    plugin = mqtt.PLUGIN
    more: ClassVar[Mapping[str, Any]] = {}  #: settings

    @asynccontextmanager
    async def receiver(self) -> AsyncIterator[Rig]:
        with TemporaryDirectory() as directory, mosquitto(Path(directory)) as broker:

            async def fail() -> None:
                broker.kill()

            async def heal() -> None:
                broker.start()

            yield Rig(
                settings={
                    "url": broker.url,
                    "username": "watch",
                    "password": PASSWORD,
                    **self.more,
                },
                fail=fail,
                heal=heal,
                received=lambda: broker.published,
                secrets=(PASSWORD,),
            )


class TestMqttOfOldAsCloudevents(TestMqtt):
    more: ClassVar = {"protocol": "3.1.1", "format": "cloudevents"}


class TestMqttAsBinaryCloudevents(TestMqtt):
    more: ClassVar = {"format": "cloudevents", "mode": "binary"}


class TestWandb(SinkContract):
    plugin = wandb_run.PLUGIN

    @asynccontextmanager
    async def receiver(self) -> AsyncIterator[Rig]:
        server = WandbServer()

        async def fail() -> None:
            server.status = 500

        async def heal() -> None:
            server.status = 200

        with server.serve() as url:
            yield Rig(
                settings={
                    "url": url,
                    "api_key": KEY,
                    "init_timeout": "2s",
                    "finish_timeout": "2s",
                },
                fail=fail,
                heal=heal,
                received=lambda: len(server.runs),
                secrets=(KEY,),
            )


class TestWandbOffline(SinkContract):
    plugin = wandb_run.PLUGIN

    @asynccontextmanager
    async def receiver(self) -> AsyncIterator[Rig]:
        yield Rig(settings={"mode": "offline"})


class TestWandbDisabled(SinkContract):
    plugin = wandb_run.PLUGIN

    @asynccontextmanager
    async def receiver(self) -> AsyncIterator[Rig]:
        yield Rig(settings={"mode": "disabled"})


class TestBestCheckpoint(ReactorContract):
    plugin = best_checkpoint.PLUGIN


class TestPrometheus(ViewContract):
    plugin = prometheus.PLUGIN


def test_no_built_in_plugin_is_left_out():
    ours = {
        entry.name
        for entry in entry_points(group=GROUP)
        if entry.dist is not None and entry.dist.name == "tunewatch"
    }
    assert ours == {"best_checkpoint", "mqtt", "prometheus", "wandb", "webhook"}
