"""Publishes one event and waits for the broker to have it.

Puts the parts together: link, states, availability. Counts no tries and waits for
nobody: that the broker is in trouble is told to the dispatcher.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tunewatch.deadline import Deadline
from tunewatch.plugin import Clock, Context, Delivery, Receipt, Reject, Retry, Secret
from tunewatch_plugins.mqtt.client import Client, Lost, TooBig, Way
from tunewatch_plugins.mqtt.home_assistant import Announcements
from tunewatch_plugins.mqtt.link import Link, Log
from tunewatch_plugins.mqtt.messages import Message, Render, rendering
from tunewatch_plugins.mqtt.replica import replica
from tunewatch_plugins.mqtt.settings import MqttSettings
from tunewatch_plugins.mqtt.states import States
from tunewatch_plugins.mqtt.topics import LONGEST, Topics
from tunewatch_plugins.mqtt.troubles import receipt, refusal
from tunewatch_plugins.secrets import Parsed
from tunewatch_plugins.tls import Tls

SHARE = 2 / 3
"""Of a delivery's time, so that we say what happened before we are cut off."""
FAREWELL = 3.0
"""s at the end for states to be published."""
ONLINE, OFFLINE = b"online", b"offline"
"""What stands on a replica's status topic; the words are Home Assistant's defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt:
    """A broker, as a sink."""

    broker: str
    render: Render
    link: Link
    states: States
    deadline: Deadline

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Publish the event; return when the broker has it. Raises Retry and Reject."""
        message = self.render(delivery)
        if len(message.topic.encode()) > LONGEST:
            raise Reject("its topic would be longer than MQTT can say")
        try:
            with self.deadline.begin():
                code = await self.link.publish(message)
        except Lost as lost:
            raise Retry(f"no broker at {self.broker}: {lost}") from None
        except TooBig as most:
            reason = f"{self.broker} takes packets of up to {most} bytes"
            raise Retry(reason, scope="lane") from None
        except TimeoutError:
            within = f"{self.deadline.seconds:g} s"
            reason = f"no acknowledgement from {self.broker} within {within}"
            raise Retry(reason) from None
        refused = refusal(code, topic=message.topic, broker=self.broker)
        if refused is not None:
            raise refused
        self.states.changed()
        return receipt(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to connect as the settings say now: secrets and certificates may change."""

    settings: MqttSettings
    identifier: str
    status: str  #: topic
    connections: Parsed[Tls] | None
    clock: Clock

    def way(self) -> Way:
        """Return how to connect at this moment. Raises Lost if it cannot work."""
        settings, tls = self.settings, None
        if self.connections is not None:
            current = self.connections.current()
            lapsed = current.lapsed(self.clock.now())
            if lapsed is not None:
                raise Lost(lapsed)
            # Always one of our own, see `settings`.
            tls = None if isinstance(current.context, bool) else current.context
        return Way(
            broker=settings.broker,
            identifier=self.identifier,
            is_v5=settings.protocol == "5",
            username=_value(settings.username),
            password=_value(settings.password),
            tls=tls,
            will=Message(self.status, OFFLINE, None, is_retained=True),
            keepalive=settings.keepalive,
        )


def _value(secret: Secret | None) -> str | None:
    return None if secret is None else secret.get()


@asynccontextmanager
async def opened(settings: MqttSettings, context: Context) -> AsyncIterator[Mqtt]:
    """Open it; return when the first attempt to connect has ended, well or not.

    A broker that is away is no reason not to open: the connection is made when there is
    one, and until then each delivery says why it did not work. Raises ValueError if
    what the settings name has become wrong since they were read.
    """
    with replica(Path(context.state_dir)) as name:
        topics, broker = Topics(settings.prefix), str(settings.broker)
        status = topics.status(name)

        announcements = _announcements(settings, topics, status)

        async def greet(client: Client) -> None:
            await _say(status, ONLINE, broker, context.log, client)
            if announcements is not None:
                birth = announcements.birth
                if not await client.listen(birth, heard):
                    context.log.warning("mqtt.home_assistant_unheard", topic=birth)

        def heard(word: bytes) -> None:
            if word == ONLINE:
                states.announce_again()

        async def leave(client: Client) -> None:
            # Who kept no state leaves no trace: nobody asks whether it is there.
            word = OFFLINE if states.has_published else b""
            await _say(status, word, broker, context.log, client)

        link = Link(
            way=Access(
                settings=settings,
                identifier=f"{settings.client_id}-{context.name}-{name}",
                status=status,
                connections=settings.connections(_trouble(context)),
                clock=context.clock,
            ).way,
            greet=greet,
            leave=leave,
            log=context.log,
        )
        states = States(
            link=link,
            topics=topics,
            jobs=context.jobs,
            window=settings.window,
            max_jobs=settings.max_jobs,
            announcements=announcements,
            broker=broker,
            log=context.log,
        )
        _warn(settings, context)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(link.keep(), name="mqtt.link")
            kept = tasks.create_task(states.keep(), name="mqtt.states")
            try:
                await link.news()
                yield Mqtt(
                    broker=broker,
                    render=rendering(
                        topics, format=settings.format, mode=settings.mode
                    ),
                    link=link,
                    states=states,
                    deadline=Deadline(context.timeout * SHARE),
                )
            finally:
                states.stop()
                await asyncio.wait((kept,), timeout=FAREWELL)
                kept.cancel()
                link.stop()


async def _say(topic: str, word: bytes, broker: str, log: Log, client: Client) -> None:
    """Say whether this replica is there; a broker that refuses it gets events alone."""
    code = await client.confirmed(Message(topic, word, None, is_retained=True))
    refused = refusal(code, topic=topic, broker=broker)
    if refused is not None:
        log.warning("mqtt.status_refused", reason=refused.reason)


def _announcements(
    settings: MqttSettings, topics: Topics, status: str
) -> Announcements | None:
    if not settings.home_assistant:
        return None
    prefix = settings.discovery_prefix
    return Announcements(prefix=prefix, topics=topics, availability=status)


def _trouble(context: Context) -> Callable[[str | None], None]:
    def say(reason: str | None) -> None:
        if reason is None:
            context.log.info("mqtt.setting_restored", setting="tls")
        else:
            context.log.warning("mqtt.setting_unusable", setting="tls", reason=reason)

    return say


def _warn(settings: MqttSettings, context: Context) -> None:
    if settings.password is not None and not settings.broker.is_encrypted:
        context.log.warning(
            "mqtt.password_in_the_clear",
            hint="whoever can listen on the way can read it: use mqtts://",
        )
