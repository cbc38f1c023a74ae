"""One connection to a broker, on which many events are on their way at once.

aiomqtt's own `publish` takes a refusal for success, does not notice that the broker is
gone, and costs more with every call that waits: what is acknowledged is looked after
here. All that is private to that library, and to paho below it, is in this module;
pyproject.toml keeps to releases for which it holds.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tunewatch_plugins.mqtt.messages import Message
from tunewatch_plugins.mqtt.properties import Written
from tunewatch_plugins.mqtt.settings import Broker
from tunewatch_plugins.mqtt.troubles import REFUSED, ended, number

CONNECT = 5.0  #: s, until a connection stands, TLS included
MOST_OUT = 512
"""Messages without an acknowledgement at most, if the broker takes as many."""
QUIET = 0.5
"""s without a message after which all that the broker keeps has come."""
_SLACK = 64  #: bytes of a packet beside topic, payload and properties


class Lost(Exception):
    """There is no connection, or no more; the message says why."""


class TooBig(Exception):
    """The broker said that it takes no packets of this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to connect, once."""

    broker: Broker
    identifier: str
    is_v5: bool
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None
    will: Message
    keepalive: float  #: s of silence after which the other side is asked for a word


class Client(aiomqtt.Client):
    """A connection, for one `async with`. Enter it where it is not cancelled.

    Raises aiomqtt.MqttError or OSError if there is no connection to be had.
    """

    def __init__(self, way: Way) -> None:
        version = aiomqtt.ProtocolVersion
        super().__init__(
            way.broker.host,
            way.broker.port,
            identifier=way.identifier,
            username=way.username,
            password=way.password,
            protocol=version.V5 if way.is_v5 else version.V311,
            # The journal is the session: what is not acknowledged is sent anew.
            clean_session=None if way.is_v5 else True,
            clean_start=True if way.is_v5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            tls_context=way.tls,
            will=_will(way.will),
            keepalive=math.ceil(way.keepalive),
            timeout=CONNECT,
            max_inflight_messages=0,  # counted here, by what the broker says
            logger=_UNHEARD,
        )
        if way.tls is not None:
            # paho's own leaves its socket open when the handshake fails.
            shaken = partial(_shaken, way.tls, way.broker.host)
            self._client._ssl_wrap_socket = shaken  # type: ignore[method-assign] # noqa: SLF001
        self._is_v5 = way.is_v5
        self._out: dict[int, asyncio.Future[int]] = {}
        self._heard: dict[str, Callable[[bytes], None]] = {}
        self._slots = asyncio.Semaphore(MOST_OUT)
        self._most_bytes = math.inf

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done when the connection is over, whoever ended it."""
        return self._disconnected

    def why_lost(self) -> str:
        """Return in words why it is over."""
        if self._disconnected.cancelled():  # by aiomqtt, which gave up waiting for it
            return "the connection did not end in time"
        error = self._disconnected.exception()
        return "the connection was closed" if error is None else ended(error)

    async def __aenter__(self) -> Self:
        try:
            await super().__aenter__()
        except BaseException:
            self._drop()
            raise
        self._disconnected.add_done_callback(self._fail_all)
        return self

    async def __aexit__(self, *exception: object) -> None:
        try:
            await super().__aexit__(None, None, None)
        except aiomqtt.MqttError:
            pass  # it did not even take our leave
        finally:
            self._drop()

    async def confirmed(self, message: Message) -> int:
        """Publish at QoS 1; return the reason code of the broker's acknowledgement.

        Raises Lost if the connection ends before, and TooBig.
        """
        if len(message.payload) + len(message.topic) + _SLACK > self._most_bytes:
            raise TooBig(f"{self._most_bytes:,.0f}")
        await self._slots.acquire()
        if self._disconnected.done():
            self._slots.release()
            raise Lost(self.why_lost())
        sent = self._client.publish(
            message.topic,
            message.payload,
            qos=1,
            retain=message.is_retained,
            properties=self._said_of(message),
        )
        if sent.rc != paho.MQTT_ERR_SUCCESS:
            self._slots.release()
            raise Lost(paho.error_string(sent.rc).rstrip(".").lower())
        # Stays until the answer, whoever waits for it: so does the broker's count.
        answer: asyncio.Future[int] = self._loop.create_future()
        self._out[sent.mid] = answer
        return await answer

    def _said_of(self, message: Message) -> Any:
        # A stranger to paho, which asks it for no more than `pack`.
        if not self._is_v5:
            return None
        return Written(message.content_type, message.properties)

    async def listen(self, topic: str, heard: Callable[[bytes], None]) -> bool:
        """Hand on what is published on a topic; False if the broker does not let us.

        Raises aiomqtt.MqttError.
        """
        self._heard[topic] = heard
        codes = await self.subscribe(topic, qos=0)
        return all(number(code) < REFUSED for code in codes)

    async def retained(self, topic_filter: str) -> set[str] | None:
        """Return the topics on which something stands, None if we may not know.

        What the broker keeps comes right after it was asked for, and its end is not
        marked: this takes `QUIET` longer than that. Raises Lost.
        """
        found: set[str] = set()
        try:
            codes = await self.subscribe(topic_filter, qos=0)
            if any(number(code) >= REFUSED for code in codes):
                return None
            with suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(QUIET):
                        message = await anext(self.messages)
                    if message.retain and message.payload:
                        found.add(message.topic.value)
            await self.unsubscribe(topic_filter)
        except aiomqtt.MqttError:
            if self._disconnected.done():
                raise Lost(self.why_lost()) from None
            return None
        return found

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        most = getattr(properties, "ReceiveMaximum", MOST_OUT)
        self._slots = asyncio.Semaphore(min(most, MOST_OUT))
        self._most_bytes = getattr(properties, "MaximumPacketSize", math.inf)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._connected.done():
            # Who closes without an answer must not be waited for.
            self._connected.set_exception(aiomqtt.MqttCodeError(reason_code))
            return
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_message(
        self, client: paho.Client, userdata: Any, message: paho.MQTTMessage
    ) -> None:
        heard = self._heard.get(message.topic)
        if heard is None:
            super()._on_message(client, userdata, message)
        else:
            heard(bytes(message.payload))

    def _on_socket_register_write(
        self,
        client: paho.Client,
        userdata: Any,  # noqa: ARG002
        sock: Any,
    ) -> None:
        def wait_to_write() -> None:
            # Closed in between, its number may be that of somebody else's socket.
            if sock.fileno() >= 0:
                self._loop.add_writer(sock.fileno(), write)

        def write() -> None:
            try:
                client.loop_write()
            except OSError as error:
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)

        # It may be asked for by the thread in which a connection is made.
        self._loop.call_soon_threadsafe(wait_to_write)

    def _on_publish(
        self,
        client: paho.Client,  # noqa: ARG002 - paho's signature, as are the others
        userdata: Any,  # noqa: ARG002
        mid: int,
        reason_code: ReasonCode,
        properties: Properties | None = None,  # noqa: ARG002
    ) -> None:
        answer = self._out.pop(mid, None)
        if answer is None:
            return
        self._slots.release()
        if not answer.done():
            answer.set_result(reason_code.value)

    def _fail_all(self, _: asyncio.Future[None]) -> None:
        out, self._out, why = self._out, {}, self.why_lost()
        for answer in out.values():
            self._slots.release()
            if not answer.done():
                answer.set_exception(Lost(why))

    def _drop(self) -> None:
        """Let go of the socket, however far it came; harmless if there is none."""
        if self._misc_task is not None:
            self._misc_task.cancel()
        self._client._sock_close()  # noqa: SLF001 - see above
        if not self._disconnected.done():
            self._disconnected.set_result(None)
        self._fail_all(self._disconnected)


_UNHEARD = logging.Logger("mqtt", logging.CRITICAL)  # noqa: LOG001 - of nobody else's
"""For the libraries, which would tell each end of a connection as an error."""


def _shaken(context: ssl.SSLContext, host: str, plain: socket.socket) -> ssl.SSLSocket:
    """Return a socket after the handshake, the certificate checked with the name."""
    made = context.wrap_socket(
        plain, server_hostname=host, do_handshake_on_connect=False
    )
    try:
        made.settimeout(CONNECT)
        made.do_handshake()
    except BaseException:
        made.close()
        raise
    return made


def _will(message: Message) -> aiomqtt.Will:
    return aiomqtt.Will(message.topic, message.payload, qos=1, retain=True)
