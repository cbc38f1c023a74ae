"""What kept a broker from taking something, in words for a person, and what it means.

Knows the client library's errors and the reason codes of MQTT 5. Decides between
trouble of the broker and trouble of one event; counts nothing.
"""

from __future__ import annotations

import socket
import ssl
from functools import lru_cache
from typing import Final

import aiomqtt
import paho.mqtt.client as paho
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tunewatch.plugin import Receipt, Retry

REFUSED: Final = 0x80  #: a reason code from here on says no
_OF_THE_EVENT: Final = frozenset({0x90, 0x99})
"""Topic name invalid, payload format invalid. Not so 0x87, not authorized: a rule that
is missing must not turn every event into a dead letter."""


@lru_cache(maxsize=256)
def receipt(code: int) -> Receipt:
    """Return what is kept of an acknowledgement."""
    try:
        name = str(ReasonCode(PacketTypes.PUBACK, identifier=code))
    except KeyError:
        name = "a code that this version has not heard of"
    return Receipt(code, name)


def refusal(code: int, *, topic: str, broker: str) -> Retry | None:
    """Return what an acknowledgement means, None if the broker has the message."""
    if code < REFUSED:  # 0x10 among them: nobody has subscribed yet
        return None
    kept = receipt(code)
    reason = f"{broker} refuses to take {topic}: {kept.answer.lower()} (0x{code:02x})"
    is_of_event = code in _OF_THE_EVENT
    return Retry(reason, scope="lane" if is_of_event else "plugin", receipt=kept)


def number(code: ReasonCode | int) -> int:
    """Return a reason code as it goes over the wire."""
    return code if isinstance(code, int) else int(code.value)


def not_connected(error: BaseException, *, within: float) -> str:
    """Return why there is no connection. The client wraps what really happened."""
    match error:
        case MqttConnectError(rc=rc) if rc is not None:
            return f"it refuses us: {_named(rc)}"
        case aiomqtt.MqttCodeError():
            return ended(error)
        case aiomqtt.MqttError(__context__=OSError() as cause):
            return _of_the_network(cause, within)
        case aiomqtt.MqttError():
            return f"no answer within {within:g} s"
        case OSError():
            return _of_the_network(error, within)
        case _:
            return type(error).__name__


def ended(error: BaseException) -> str:
    """Return why a connection is over."""
    match error:
        case aiomqtt.MqttCodeError(rc=rc) if rc is not None:
            return f"the connection is gone: {_named(rc)}"
        case OSError(strerror=str(text)):
            return f"the connection broke: {text.lower()}"
        case _:
            return f"the connection broke: {type(error).__name__}"


def _named(code: ReasonCode | int) -> str:
    text = paho.error_string(code) if isinstance(code, int) else str(code)
    # What paho makes of a connection that ends without a word.
    text = "closed by the broker" if text == "Unspecified error" else text
    return text.rstrip(".").lower()


def _of_the_network(error: OSError, within: float) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is refused: {error.verify_message}"
        case ssl.SSLError():
            words = (error.reason or type(error).__name__).replace("_", " ").lower()
            return f"no TLS: {words}"
        case socket.gaierror():
            return f"the name is not found: {error.strerror}"
        case TimeoutError():
            return f"no connection within {within:g} s"
        case _:
            return (error.strerror or type(error).__name__).lower()
