"""The shapes an event can take on its way: what is sent, and what it is called.

Knows events, not receivers. A shape that is announced but not built is refused when the
settings are read, never half done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from tunewatch.plugin import Delivery


class Message(NamedTuple):
    """What goes over the wire for one delivery."""

    content_type: str
    body: bytes


Format: TypeAlias = Callable[[Delivery], Message]
"""Makes the message of a delivery; the same delivery always makes the same bytes."""


def standard(delivery: Delivery) -> Message:
    """Return the event as it was committed, untouched: those bytes are signed."""
    return Message("application/json", delivery.body)


FORMATS: dict[str, Format] = {"standard": standard}
_LATER = ("cloudevents", "slack", "discord", "teams")


def known(name: str) -> str:
    """Return the name if it can be sent. Raises ValueError that says what can."""
    if name in FORMATS:
        return name
    found = "one that this version cannot send yet" if name in _LATER else "none"
    raise ValueError(f"wanted a format ({', '.join(FORMATS)}); found {found}")
