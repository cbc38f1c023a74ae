"""Signatures by Standard Webhooks, version 1: HMAC-SHA256 over id, time and body.

Pure: no clock, no file, no HTTP. Several keys sign while one replaces another.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterator
from dataclasses import dataclass

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64  #: bytes of a key, by the specification
MOST_KEYS = 10  #: more would make a header that receivers refuse

_HOW = "make one with `tunewatch secret`"


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The keys that sign, current first."""

    keys: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"Keyring({len(self.keys)} keys)"

    def headers(self, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the three headers of one try; `timestamp` is its unix second."""
        content = f"{event_id}.{timestamp}.".encode() + body
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(
                [_signature(key, content) for key in self.keys]
            ),
        }

    def spelled(self) -> Iterator[str]:
        """Yield the keys as receivers write them, to find them in what they say."""
        for key in self.keys:
            yield base64.b64encode(key).decode("ascii")


def _signature(key: bytes, content: bytes) -> str:
    digest = hmac.digest(key, content, "sha256")
    return "v1," + binascii.b2a_base64(digest, newline=False).decode("ascii")


def keyring(text: str) -> Keyring:
    """Return the keys of a text, one per line; empty lines are skipped.

    Raises ValueError that names the line and never repeats it.
    """
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), start=1)]
    keys = tuple(dict.fromkeys(_key(line, n) for n, line in lines if line))
    if not keys:
        raise ValueError(f"wanted a secret; found nothing; {_HOW}")
    if len(keys) > MOST_KEYS:
        raise ValueError(
            f"wanted at most {MOST_KEYS} secrets, found {len(keys)}: remove old ones"
        )
    return Keyring(keys)


def _key(line: str, number: int) -> bytes:
    wanted = (
        f"line {number}: wanted {PREFIX} and the base64 of {SHORTEST} to {LONGEST}"
        " bytes, found"
    )
    if line.startswith(("whsk_", "whpk_")):
        raise ValueError(f"{wanted} a key for ed25519, which is not supported; {_HOW}")
    if not line.startswith(PREFIX):
        raise ValueError(f"{wanted} something that does not begin with it; {_HOW}")
    try:
        key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise ValueError(f"{wanted} no base64 after it; {_HOW}") from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"{wanted} {len(key)} bytes; {_HOW}")
    return key
