"""Private keys whose signatures anybody can check: ed25519, version v1a.

The receiver has only the public half, so that nobody can sign with what leaks there.
The package `cryptography` is imported when the first such key is read: who has none
needs none.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
SEED = 32  #: bytes of the secret half; the public one, as long, may stand behind it

_WANTED = f"wanted {PREFIX} and the base64 of {SEED} or {2 * SEED} bytes, found"
_HOW = "make one with `tunewatch secret --kind ed25519`"


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A key of which the receiver knows the public half."""

    seed: bytes
    public: bytes
    sign: Callable[[bytes], bytes] = field(compare=False)

    def signature(self, content: bytes) -> str:
        """Return the signature, which is always the same for the same content."""
        signed = binascii.b2a_base64(self.sign(content), newline=False)
        return "v1a," + signed.decode("ascii")

    def spelled(self) -> Iterator[str]:
        """Yield the secret half alone, and in front of the public one."""
        yield base64.b64encode(self.seed).decode("ascii")
        yield base64.b64encode(self.seed + self.public).decode("ascii")


def private_key(line: str) -> PrivateKey:
    """Return the key of a `whsk_` line. Raises ValueError that never repeats it."""
    if line.startswith(PUBLIC_PREFIX):
        raise ValueError(f"{_WANTED} the public half, which is for the receiver")
    try:
        given = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise ValueError(f"{_WANTED} no base64 after it; {_HOW}") from None
    if len(given) not in (SEED, 2 * SEED):
        raise ValueError(f"{_WANTED} {len(given)} bytes; {_HOW}")
    seed, said = given[:SEED], given[SEED:]
    public, sign = _opened(seed)
    if said and said != public:
        raise ValueError(f"{_WANTED} two halves that do not belong together; {_HOW}")
    return PrivateKey(seed, public, sign)


def _opened(seed: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Return the public half, and what signs."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise ValueError(
            f"a key that begins with {PREFIX} needs the package cryptography, which is"
            " not installed: pip install 'tunewatch[ed25519]'"
        ) from None
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.public_key().public_bytes_raw(), key.sign
