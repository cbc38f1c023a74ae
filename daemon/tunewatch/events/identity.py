"""Names of events: a hash of a natural key, the same however often it is found.

A receiver drops repeats by this name, across restarts, replicas and restores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(order="deterministic")


def digest(value: Any) -> str:
    """Return a short hash of anything JSON can say, keys in any order."""
    return hashlib.blake2b(_encoder.encode(value), digest_size=10).hexdigest()


def event_id(realm: str, owner: str, event_type: str, key: tuple[Any, ...]) -> str:
    """Return the id of an event of a job (or of a source, then owner is its name).

    `key` is what makes it this one: the API's own event id, or (n-th time, hash of what
    changed).
    """
    return "evt_" + _hash([realm, owner, event_type, *key])


def derived_id(cause: str, plugin: str, index: int, data: Mapping[str, Any]) -> str:
    """Return the id of an event that the plugin instance concluded from `cause`."""
    return "evt_" + _hash(["derived", cause, plugin, index, digest(data)])


def _hash(parts: list[Any]) -> str:
    return hashlib.blake2b(_encoder.encode(parts), digest_size=16).hexdigest()
