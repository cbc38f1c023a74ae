"""Standard Webhooks signatures, from the other side: the receiver's and the provider's.

Written apart from what the daemon signs and verifies with, so that the two check each
other. Knows no HTTP beyond the names of three headers. Public keys need the package
cryptography.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence

_TOLERANCE = 300.0  # seconds between a signature's time and ours


def signed(ident: str, body: bytes, *, secret: str, now: float) -> dict[str, str]:
    """Return the headers that sign a body. Raises ValueError for what is no secret."""
    stamp = str(int(now))
    content = b"%b.%b.%b" % (ident.encode(), stamp.encode(), body)
    digest = hmac.new(
        _decoded(secret.removeprefix("whsec_")), content, hashlib.sha256
    ).digest()
    return {
        "webhook-id": ident,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def signature_problem(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], now: float
) -> str | None:
    """Return why a Standard Webhooks signature is not accepted, None if it is.

    `secrets` are `whsec_…` and `whpk_…`, as many as are valid. Header names are in
    lower case.
    """
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    missing = [name for name in names if not headers.get(name)]
    if missing:
        return f"missing header: {', '.join(missing)}"
    ident, stamp, signatures = (headers[name] for name in names)
    if not stamp.isdecimal():
        return "webhook-timestamp is not a whole number"
    if abs(now - int(stamp)) > _TOLERANCE:
        return "webhook-timestamp is more than 5 minutes away"
    content = b"%b.%b.%b" % (ident.encode(), stamp.encode(), body)
    given = [part.partition(",") for part in signatures.split()]
    for secret in secrets:
        if secret.startswith("whpk_"):
            version, is_good = "v1a", _by_public_key(secret, content)
        else:
            version, is_good = "v1", _by_shared_key(secret, content)
        if any(is_good(value) for kind, _, value in given if kind == version):
            return None
    return "no signature matches"


def _by_shared_key(secret: str, signed: bytes) -> Callable[[str], bool]:
    key = _decoded(secret.removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    return lambda value: hmac.compare_digest(wanted, value.encode())


def _by_public_key(secret: str, signed: bytes) -> Callable[[str], bool]:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(_decoded(secret.removeprefix("whpk_")))

    def is_good(value: str) -> bool:
        try:
            key.verify(base64.b64decode(value), signed)
        except (InvalidSignature, ValueError):
            return False
        return True

    return is_good


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as trouble:
        raise ValueError("a secret is not whsec_ or whpk_ and base64") from trouble
