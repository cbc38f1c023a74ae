"""Standard Webhooks signatures, from the receiver's side.

Written apart from what the daemon signs with, so that the two check each other. Knows
no HTTP beyond the names of three headers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

_TOLERANCE = 300.0  # seconds between a signature's time and ours


def signature_problem(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], now: float
) -> str | None:
    """Return why a Standard Webhooks signature is not accepted, None if it is.

    Header names are in lower case.
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
    signed = b"%b.%b.%b" % (ident.encode(), stamp.encode(), body)
    given = [
        value
        for version, _, value in (part.partition(",") for part in signatures.split())
        if version == "v1"
    ]
    for secret in secrets:
        digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
        wanted = base64.b64encode(digest).decode()
        if any(hmac.compare_digest(wanted, value) for value in given):
            return None
    return "no signature matches"


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as trouble:
        raise ValueError("a secret is not whsec_ and base64") from trouble
