"""The shapes an event can take on its way: what is sent, and what it is called.

Knows events, not receivers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from tunewatch.plugin import Delivery
from tunewatch_plugins import cloudevents
from tunewatch_plugins.webhook import chat
from tunewatch_plugins.webhook.chat import message
from tunewatch_plugins.webhook.thin import thin

Mode: TypeAlias = Literal["structured", "binary"]
Payload: TypeAlias = Literal["full", "thin"]


class Message(NamedTuple):
    """What goes over the wire for one delivery."""

    headers: Mapping[str, str]  #: names in lower case; the content type is among them
    body: bytes


Format: TypeAlias = Callable[[Delivery], Message]
"""Makes the message of a delivery; the same delivery always makes the same bytes."""

FORMATS = ("standard", "cloudevents", *chat.CHATS)
_JSON = {"content-type": "application/json"}
_CLOUDEVENT = {"content-type": cloudevents.STRUCTURED}


def known(name: str) -> str:
    """Return the name if it can be sent. Raises ValueError that says what can."""
    if name in FORMATS:
        return name
    raise ValueError(f"wanted a format ({', '.join(FORMATS)}); found none of them")


def is_chat(name: str) -> bool:
    """Whether a format is read by people: nobody verifies or thins such a message."""
    return name in chat.CHATS


def shaped(name: str, *, mode: Mode, payload: Payload) -> Format:
    """Return what makes messages; `name` is a known format."""
    if is_chat(name):
        return lambda delivery: Message(_JSON, message(chat.CHATS[name], delivery))
    whole = standard if name == "standard" else _CLOUDEVENTS[mode]
    if payload == "full":
        return whole
    return lambda delivery: whole(_thinned(delivery))


def standard(delivery: Delivery) -> Message:
    """Return the event as it was committed, untouched: those bytes are signed."""
    return Message(_JSON, delivery.body)


def _structured(delivery: Delivery) -> Message:
    body = cloudevents.structured(delivery.event, delivery.body)
    return Message(_CLOUDEVENT, body)


def _binary(delivery: Delivery) -> Message:
    headers, body = cloudevents.binary(delivery.event, delivery.body)
    return Message({**_JSON, **headers}, body)


_CLOUDEVENTS: dict[Mode, Format] = {"structured": _structured, "binary": _binary}


def _thinned(delivery: Delivery) -> Delivery:
    return Delivery(event=delivery.event, body=thin(delivery.body))
