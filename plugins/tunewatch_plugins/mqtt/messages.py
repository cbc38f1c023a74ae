"""What is published for one delivery: topic, payload, and what is said about it.

Knows events and topics, not brokers nor the client library. The standard payload is the
event's own bytes, the same at every try.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from tunewatch.plugin import Delivery
from tunewatch_plugins import cloudevents
from tunewatch_plugins.mqtt.topics import Topics

JSON = "application/json"
Pairs: TypeAlias = tuple[tuple[str, str], ...]


class Message(NamedTuple):
    """One thing to publish at QoS 1."""

    topic: str
    payload: bytes
    content_type: str | None = JSON  #: None: nothing is said of it
    properties: Pairs = ()  #: for people and routers; MQTT 5 only
    is_retained: bool = False


Render: TypeAlias = Callable[[Delivery], Message]


def rendering(topics: Topics, *, format: str, mode: str) -> Render:  # noqa: A002
    """Return what makes messages of deliveries; the names are those of the settings."""
    shape = _standard
    if format == "cloudevents":
        shape = _binary if mode == "binary" else _structured

    def render(delivery: Delivery) -> Message:
        event = delivery.event
        told = (("event-id", event.id), ("event-type", event.type))
        payload, content_type, more = shape(delivery)
        return Message(topics.event(event), payload, content_type, (*told, *more))

    return render


_Shaped: TypeAlias = tuple[bytes, str, Pairs]


def _standard(delivery: Delivery) -> _Shaped:
    return delivery.body, JSON, ()


def _structured(delivery: Delivery) -> _Shaped:
    body = cloudevents.structured(delivery.event, delivery.body)
    return body, cloudevents.STRUCTURED, ()


def _binary(delivery: Delivery) -> _Shaped:
    said = tuple(cloudevents.attributes(delivery.event).items())
    return cloudevents.data(delivery.body), cloudevents.DATA, said
