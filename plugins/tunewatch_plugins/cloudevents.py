"""Events by CloudEvents 1.0: the whole in one JSON object, or attributes as headers.

What our envelope says is said by attributes; `data` stays, byte for byte. Knows the
specification's JSON format and its HTTP and MQTT bindings, and nothing of receivers.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from tunewatch.events import Event, iso

STRUCTURED = "application/cloudevents+json"
DATA = "application/json"
_DIGITS = 19  #: of the highest sequence there can be: as text they sort as numbers

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_IN_PATHS = "/@!$&'()*+,;="  #: what a URI's path may have beside letters, digits, -._~
# All that is printable, but for the quotation mark and the percent sign.
_IN_HEADERS = "".join(map(chr, (0x21, *range(0x23, 0x25), *range(0x26, 0x7F))))


class _HasData(Struct):
    data: Raw


_bodies = msgspec.json.Decoder(_HasData)
_encoder = msgspec.json.Encoder()


def structured(event: Event, body: bytes) -> bytes:
    """Return the event as one object, its `data` inside; `body` is the standard one."""
    told = {
        **attributes(event),
        "datacontenttype": DATA,
        "data": _bodies.decode(body).data,
    }
    return _encoder.encode(told)


def binary(event: Event, body: bytes) -> tuple[dict[str, str], bytes]:
    """Return the attributes as headers, and the `data` alone."""
    headers = {
        f"ce-{name}": quote(value, safe=_IN_HEADERS)
        for name, value in attributes(event).items()
    }
    return headers, data(body)


def data(body: bytes) -> bytes:
    """Return the `data` of a standard body alone, byte for byte."""
    return bytes(_bodies.decode(body).data)


def attributes(event: Event) -> dict[str, str]:
    """Return what routers go by, as text that is not encoded for any header yet.

    There is no `sequencetype`: its only value means 32 bits without gaps, and filters
    leave gaps. Events of one subject are ordered by `sequence`.
    """
    told = {
        "specversion": "1.0",
        "id": event.id,
        "source": source(event.common.realm, event.common.source),
        "type": event.type,
    }
    if event.job_id is not None:
        told["subject"] = event.job_id
    told["time"] = iso(event.created_at)
    told["sequence"] = f"{event.common.sequence:0{_DIGITS}}"
    return told


@lru_cache(maxsize=1024)
def source(realm: str, name: str) -> str:
    """Return where an event comes from: the realm as a URI reference, `#`, the source.

    `openai:https://api.openai.com#research`. A realm may be any text a person chose.
    """
    begins = _SCHEME.match(realm)
    scheme = begins.group() if begins else ""
    # A colon before the first slash would be read as the end of a scheme.
    safe = _IN_PATHS + ":" if scheme else _IN_PATHS
    return f"{scheme}{quote(realm[len(scheme) :], safe=safe)}#{quote(name, safe='')}"
