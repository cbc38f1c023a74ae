"""Signatures by Standard Webhooks: HMAC-SHA256 (v1) and ed25519 (v1a).

Over id, time and body. Pure: no clock, no file, no HTTP. Several keys, of one kind or
of both, sign while one replaces another.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tunewatch_plugins.webhook import ed25519

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64  #: bytes of a shared key, by the specification
MOST_KEYS = 10  #: more would make a header that receivers refuse

_HOW = "make one with `tunewatch secret`"


class Key(Protocol):
    """What signs."""

    def signature(self, content: bytes) -> str:
        """Return the signature with its version."""
        ...

    def spelled(self) -> Iterator[str]:
        """Yield how the key may be written, to find it in what receivers say."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class SharedKey:
    """A key that the receiver has, too."""

    key: bytes

    def signature(self, content: bytes) -> str:
        """Return the signature, which the receiver makes as well and compares."""
        digest = hmac.digest(self.key, content, "sha256")
        return "v1," + binascii.b2a_base64(digest, newline=False).decode("ascii")

    def spelled(self) -> Iterator[str]:
        """Yield the key as receivers write it."""
        yield base64.b64encode(self.key).decode("ascii")


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The keys that sign, current first."""

    keys: tuple[Key, ...]

    def __repr__(self) -> str:
        return f"Keyring({len(self.keys)} keys)"

    def headers(self, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the three headers of one try; `timestamp` is its unix second."""
        content = f"{event_id}.{timestamp}.".encode() + body
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(
                [key.signature(content) for key in self.keys]
            ),
        }

    def spelled(self) -> Iterator[str]:
        """Yield the keys as receivers write them, to find them in what they say."""
        for key in self.keys:
            yield from key.spelled()


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


def _key(line: str, number: int) -> Key:
    try:
        if line.startswith((ed25519.PREFIX, ed25519.PUBLIC_PREFIX)):
            return ed25519.private_key(line)
        return _shared_key(line)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None


def _shared_key(line: str) -> SharedKey:
    wanted = f"wanted {PREFIX} and the base64 of {SHORTEST} to {LONGEST} bytes, found"
    if not line.startswith(PREFIX):
        raise ValueError(f"{wanted} something that does not begin with it; {_HOW}")
    try:
        key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise ValueError(f"{wanted} no base64 after it; {_HOW}") from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"{wanted} {len(key)} bytes; {_HOW}")
    return SharedKey(key)
