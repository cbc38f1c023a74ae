"""Whom TLS trusts, and who we are in it: authorities, and a certificate of our own.

Certificates and keys come as text, from wherever secrets are kept; nothing of them is
written to a disk. Dials nothing.
"""

from __future__ import annotations

import math
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tunewatch.plugin import Secret

_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)
_PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tls:
    """What connections are made with."""

    context: ssl.SSLContext | bool  #: True: the system's authorities, nothing else
    expires: float = math.inf  #: unix seconds, when our certificate does

    def lapsed(self, now: float) -> str | None:
        """Return why our certificate is of no use any more, None if it is."""
        if now < self.expires:
            return None
        ended = datetime.fromtimestamp(self.expires, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"the client certificate expired on {ended}: put a new one in its place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """Where a certificate of our own is kept."""

    certificate: Secret
    key: Secret | None = None  #: None: with the certificate
    password: Secret | None = None  #: of the key

    def secrets(self) -> list[Secret]:
        """Return what is read again when it changes."""
        return [one for one in (self.certificate, self.key, self.password) if one]


def tls(ca_file: Path | None, papers: Papers | None) -> Tls:
    """Return what to connect with.

    Raises ValueError that says what of our certificate will not do, and OSError, of
    which ssl.SSLError is one, if the authorities will not.
    """
    if papers is None:
        return Tls(True if ca_file is None else trust(ca_file))
    certificate = papers.certificate.get() or ""
    key = certificate if papers.key is None else papers.key.get() or ""
    password = None if papers.password is None else papers.password.get()
    context = trust(ca_file)
    _introduce(context, certificate, key, password)
    return Tls(context, _expiry(certificate))


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return TLS settings that trust these authorities and no others.

    Raises OSError, of which ssl.SSLError is one, if the file will not do.
    """
    return ssl.create_default_context(cafile=ca_file)


def _introduce(
    context: ssl.SSLContext, certificate: str, key: str, password: str | None
) -> None:
    """Let our side of a connection have a certificate. Raises ValueError."""
    if not _CERTIFICATE.search(certificate):
        raise ValueError("client_cert: wanted a certificate in PEM form; found none")
    if not _PRIVATE_KEY.search(key):
        raise ValueError(
            "client_cert: wanted its private key in PEM form, in the same file or as"
            " client_key_file; found none"
        )
    asked = []

    def answer() -> str:
        asked.append(True)
        return password or ""

    try:
        with _in_memory(certificate) as first, _in_memory(key) as second:
            context.load_cert_chain(first, second, answer)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(_unfit(error, password, is_encrypted=bool(asked))) from None


def _unfit(error: Exception, password: str | None, *, is_encrypted: bool) -> str:
    reason = getattr(error, "reason", None) or ""
    if "MISMATCH" in reason:
        return "client_key: wanted the key of client_cert; found that of another one"
    if is_encrypted and password is None:
        return (
            "client_key: wanted a key that can be read; found it encrypted: name its"
            " password by client_key_password_file"
        )
    if is_encrypted:
        return "client_key_password: wanted the key's password; found another one"
    why = reason.replace("_", " ").lower() or "one of the two is damaged"
    return f"client_cert: wanted a certificate and its key in PEM form; found: {why}"


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """Lend a path under which OpenSSL, which reads files only, finds a text."""
    number = os.memfd_create("tunewatch")
    try:
        with os.fdopen(number, "w", closefd=False) as file:
            file.write(text)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


def _expiry(certificates: str) -> float:
    """Return when the first of these certificates ends, in unix seconds.

    The standard library tells it only of certificates that a peer has shown.
    """
    (first,) = [*_CERTIFICATE.findall(certificates)][:1]
    (_, certificate), *_ = _elements(ssl.PEM_cert_to_DER_cert(first))
    (_, signed), *_ = _elements(certificate)
    fields = [content for tag, content in _elements(signed) if tag != _VERSION]
    _serial, _algorithm, _issuer, validity, *_ = fields
    _, (tag, ends) = _elements(validity)
    pattern = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    moment = datetime.strptime(ends.decode("ascii"), pattern).replace(tzinfo=UTC)
    return moment.timestamp()


_VERSION, _UTC_TIME = 0xA0, 0x17  # of X.509, by their tags


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each element in a row of them."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length > 0x7F:  # so many bytes of length follow
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        yield tag, der[at : at + length]
        at += length
