"""Events as bytes: one shape for webhooks, MQTT and the event stream.

Encoding happens once, at commit; every later delivery sends those very bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from tunewatch.events.catalogue import (
    CATALOGUE,
    JOB_STATUS_PREFIX,
    JobStatusChanged,
    Payload,
    Unheard,
)

SCHEMA_VERSION = 1
_encoder = msgspec.json.Encoder()
_payloads: dict[str, type[Payload]] = {kind.TYPE: kind for kind in CATALOGUE}


class Happening(Struct, frozen=True, kw_only=True):
    """An event before it is committed: no sequence, no position yet.

    `key` is the natural key of its identity, see `identity.event_id`.
    """

    type: str
    key: tuple[Any, ...]
    payload: Payload
    created_at: int | None  #: by the provider; None: when it was seen


class Common(Struct, frozen=True, kw_only=True):
    """The fields that every event's `data` has."""

    id: str  #: the job's id, or the source's name
    source: str  #: the name of the source
    realm: str  #: where the job lives: provider and origin of its API
    status: str | None  #: the job's status, verbatim; null for source events
    sequence: int  #: rises per job: a lower one is older
    observed_at: str  #: ISO 8601, when it was committed
    backfilled: bool = False  #: it happened before the first contact


class Event(Struct, frozen=True, kw_only=True):
    """An event as it was committed."""

    id: str
    type: str
    created_at: int
    common: Common
    payload: Payload

    @property
    def job_id(self) -> str | None:
        """The job it is about, None for events of a source."""
        return None if self.common.status is None else self.common.id


class _Envelope(Struct, frozen=True, kw_only=True):
    id: str
    type: str
    created_at: int
    data: dict[str, Any]


_decoder = msgspec.json.Decoder(_Envelope)
_common_fields = frozenset(Common.__struct_fields__)


def iso(seconds: float) -> str:
    """Return unix seconds as ISO 8601 in UTC, to the second."""
    return _iso(int(seconds))


@lru_cache(maxsize=1024)  # many events share a second
def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(event: Event) -> bytes:
    """Return the body of an event."""
    data = msgspec.to_builtins(event.common)
    if isinstance(event.payload, Unheard):
        data.update(event.payload.fields)
    else:
        data.update(msgspec.to_builtins(event.payload))
    return _encoder.encode(
        {
            "object": "event",
            "id": event.id,
            "type": event.type,
            "created_at": event.created_at,
            "timestamp": iso(event.created_at),
            "schema_version": SCHEMA_VERSION,
            "data": data,
        }
    )


def decode(body: bytes) -> Event:
    """Return the event of a body; unknown types and fields are kept or ignored.

    Raises msgspec.ValidationError if it is not an event.
    """
    envelope = _decoder.decode(body)
    data = envelope.data
    return Event(
        id=envelope.id,
        type=envelope.type,
        created_at=envelope.created_at,
        common=msgspec.convert(data, Common),
        payload=payload_of(envelope.type, data),
    )


def payload_of(event_type: str, data: dict[str, Any]) -> Payload:
    """Return the typed payload of an event's data."""
    kind = _payloads.get(event_type)
    if kind is None and event_type.startswith(JOB_STATUS_PREFIX):
        kind = JobStatusChanged
    if kind is None:
        rest = {key: data[key] for key in data if key not in _common_fields}
        return Unheard(fields=rest)
    return msgspec.convert(data, kind)
