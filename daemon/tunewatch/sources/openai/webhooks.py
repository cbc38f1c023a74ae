"""OpenAI's webhooks: whether one is OpenAI's, and which job it is about.

They are signed by the Standard Webhooks scheme: an HMAC over id, time and body. Knows
no server and decides nothing; whether an announcement was heard before is not known.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tunewatch.settings import Wanted
from tunewatch.sources.contract import (
    Announcement,
    Unreadable,
    Unverified,
    Webhooks,
)
from tunewatch.sources.openai.lenient import NOT_JSON

TOLERANCE = 300.0
"""s that a signature's time may be off our clock, either way."""

_ABOUT_JOBS = "fine_tuning.job."
_PREFIX = "whsec_"
_WANTED = (
    "signing secrets as the provider shows them, whsec_ and base64, one a line while "
    "one is being exchanged"
)
_MOST_SIGNATURES = 16  #: a rotation sends two
_LONGEST_ID = 256
_STAMP_DIGITS = 12


class _Event(msgspec.Struct):
    type: str
    data: Any = None


_event = msgspec.json.Decoder(_Event)


def check(text: str) -> None:
    """Judge the text of a secret. Raises Wanted, without repeating it."""
    lines = text.split()
    if not lines or any(_key(line) is None for line in lines):
        raise Wanted(_WANTED)


def read(
    headers: Mapping[str, str], body: bytes, text: str, now: float
) -> Announcement:
    """Return what a request says. Raises Unverified, Unreadable."""
    ident = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not (ident and stamp and signatures):
        raise Unverified("it is not signed")
    if not (_is_plain(ident) and _is_number(stamp) and signatures.isascii()):
        raise Unverified("its id, time or signature is none that a provider writes")
    # In this order, so that only who knows the secret learns anything of our clock.
    if not _is_signed(ident, stamp, body, given=signatures, text=text):
        raise Unverified("no signature matches the secret of the source")
    if abs(now - int(stamp)) > TOLERANCE:
        raise Unverified("it was signed more than 5 minutes ago or ahead of our clock")
    return Announcement(id=ident, job_id=_job(body))


WEBHOOKS = Webhooks(check=check, read=read)
"""What the kind `openai` offers."""


def _is_plain(ident: str) -> bool:
    return ident.isascii() and ident.isprintable() and len(ident) <= _LONGEST_ID


def _is_number(stamp: str) -> bool:
    return stamp.isascii() and stamp.isdigit() and len(stamp) <= _STAMP_DIGITS


def _is_signed(ident: str, stamp: str, body: bytes, *, given: str, text: str) -> bool:
    signed = b"%b.%b.%b" % (ident.encode(), stamp.encode(), body)
    found = [
        value.encode()
        for version, _, value in (
            one.partition(",") for one in given.split()[:_MOST_SIGNATURES]
        )
        if version == "v1"
    ]
    is_signed = False
    for key in _keys(text):
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        for value in found:
            # All of them, so that the time taken tells nothing.
            is_signed |= hmac.compare_digest(wanted, value)
    return is_signed


def _keys(text: str) -> Iterator[bytes]:
    """Yield the keys of the secrets that can be used: one may be half written."""
    for line in text.split():
        key = _key(line)
        if key is not None:
            yield key


def _key(secret: str) -> bytes | None:
    if not secret.startswith(_PREFIX):
        return None
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _job(body: bytes) -> str | None:
    """Return the job that an event is about, if it is about one."""
    try:
        event = _event.decode(body)
    except NOT_JSON as error:
        raise Unreadable("a signed webhook is no event") from error
    if not event.type.startswith(_ABOUT_JOBS):
        return None
    job_id = event.data.get("id") if isinstance(event.data, dict) else None
    if not isinstance(job_id, str) or not 0 < len(job_id) <= _LONGEST_ID:
        raise Unreadable("a signed webhook about a job does not name it")
    # The specification's example writes it so; ids of jobs have a dash.
    return job_id.replace("ftjob_", "ftjob-", 1) if job_id[:6] == "ftjob_" else job_id
