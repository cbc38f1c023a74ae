"""From when until when a certificate holds, read from its file.

Knows nothing else of it: whether it is trusted is for whoever connects to say.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"
_UTC_TIME, _GENERALIZED = 0x17, 0x18
_VERSION = 0xA0  #: the optional first part of a certificate


@dataclass(frozen=True, slots=True)
class Validity:
    """Unix seconds."""

    begins: float
    ends: float


def validity_of(path: Path) -> Validity | None:
    """Return it of the first certificate in a file; None if it has none to be read."""
    try:
        text = path.read_text(encoding="latin-1")
        first = text.partition(_BEGIN)[2].partition(_END)[0]
        return _validity(ssl.PEM_cert_to_DER_cert(_BEGIN + first + _END))
    except (OSError, ValueError, IndexError, KeyError):
        return None


def _validity(der: bytes) -> Validity:
    """Return what stands behind version, number, signature and issuer."""
    _, certificate, _ = _part(der)
    _, signed, _ = _part(certificate)
    kind, _, after = _part(signed)
    rest = after if kind == _VERSION else signed
    for _ in range(3):
        _, _, rest = _part(rest)
    _, times, _ = _part(rest)
    kind, begins, after = _part(times)
    last_kind, ends, _ = _part(after)
    return Validity(_moment(kind, begins), _moment(last_kind, ends))


def _part(data: bytes) -> tuple[int, bytes, bytes]:
    """Return the kind and content of the first part, and what follows it."""
    kind, size, start = data[0], data[1], 2
    if size > 0x7F:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    return kind, data[start : start + size], data[start + size :]


def _moment(kind: int, text: bytes) -> float:
    form = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED: "%Y%m%d%H%M%SZ"}[kind]
    said = datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC)
    # X.509 turns the century at 50, where Python turns it at 69.
    if kind == _UTC_TIME and said.year >= 2050:
        said = said.replace(year=said.year - 100)
    return said.timestamp()
