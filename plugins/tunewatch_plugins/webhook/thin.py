"""Events without their contents: what happened to what, and in which order.

For receivers that ask for the rest themselves, or may not have it. Works on the bytes
that were committed, so that the same event is always thinned to the same bytes.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from tunewatch.events import Common

_KEPT = Common.__struct_fields__
_envelopes = msgspec.json.Decoder(dict[str, Raw])
_encoder = msgspec.json.Encoder()


def thin(body: bytes) -> bytes:
    """Return an event with nothing in `data` but the fields that every event has."""
    envelope = _envelopes.decode(body)
    data = _envelopes.decode(envelope["data"])
    kept = {name: data[name] for name in _KEPT if name in data}
    return _encoder.encode({**envelope, "data": kept})
