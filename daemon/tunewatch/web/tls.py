"""TLS as the web configuration file says it: the context that connections begin with.

Whatever of it cannot be had is refused by its key, never served otherwise.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewatch.config.tls_names import CURVES, SUITES, VERSIONS
from tunewatch.config.web_file import TlsServer
from tunewatch.config.web_reading import opened
from tunewatch.openssl import in_words
from tunewatch.settings import ConfigError, Mistake, key_path

_ASKS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_NAMES = ("DNS", "email", "IP Address", "URI")
"""Kinds of names in a certificate that may be allowed."""

_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


def context_of(tls: TlsServer, *, said_in: Path) -> ssl.SSLContext:
    """Return what a server needs to speak TLS. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion[VERSIONS[tls.min_version]]
    context.maximum_version = ssl.TLSVersion[VERSIONS[tls.max_version]]
    context.set_alpn_protocols(["http/1.1"])
    _choose(context, tls, said_in)
    _show(context, tls, said_in)
    _ask(context, tls, said_in)
    return context


def is_allowed(shown: Mapping[str, Any] | None, names: tuple[str, ...]) -> bool:
    """Whether a client's certificate, as the ssl module tells it, has such a name."""
    has = (shown or {}).get("subjectAltName", ())
    wanted = {_in_short(name) for name in names}
    return any(kind in _NAMES and _in_short(name) in wanted for kind, name in has)


def _in_short(name: str) -> str:
    """Return an address as people write it; the ssl module writes all of its parts."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _choose(context: ssl.SSLContext, tls: TlsServer, said_in: Path) -> None:
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        if tls.cipher_suites:
            context.set_ciphers(":".join(SUITES[one] for one in tls.cipher_suites))
            _all_there(context, tls, said_in)
    except ssl.SSLError:
        raise _mistaken(said_in, "cipher_suites", _NOT_HERE) from None
    try:
        for curve in tls.curve_preferences:
            context.set_ecdh_curve(CURVES[curve])
    except (ssl.SSLError, ValueError):
        raise _mistaken(said_in, "curve_preferences", _NOT_HERE) from None


_NOT_HERE = "wanted what OpenSSL on this machine has; found what it has not"


def _all_there(context: ssl.SSLContext, tls: TlsServer, said_in: Path) -> None:
    """Refuse a list of which OpenSSL took a part."""
    has = {one["name"] for one in context.get_ciphers()}
    for number, name in enumerate(tls.cipher_suites):
        if SUITES[name] not in has:
            raise _mistaken(said_in, "cipher_suites", _NOT_HERE, number)


def _show(context: ssl.SSLContext, tls: TlsServer, said_in: Path) -> None:
    """Take certificate and key."""
    for key, path in (("cert_file", tls.cert_file), ("key_file", tls.key_file)):
        _read(path, key, said_in)
    try:
        # A key with a passphrase would be asked for on the terminal.
        context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
    except ssl.SSLError as error:
        key, text = _why_not(tls, error)
        raise _mistaken(said_in, key, text) from None
    except (OSError, ValueError):
        text = f"wanted a private key in {tls.key_file} that can be read"
        raise _mistaken(said_in, "key_file", text) from None


def _why_not(tls: TlsServer, error: ssl.SSLError) -> tuple[str, str]:
    if error.reason == "KEY_VALUES_MISMATCH":
        text = f"wanted the key of the certificate in {tls.cert_file}; found another "
        text += f"one in {tls.key_file}"
        return "key_file", text
    text = _text(tls.key_file)
    if "ENCRYPTED" in text:
        return "key_file", (
            f"wanted a key without a passphrase in {tls.key_file}; found one with it: "
            "nobody is there to be asked for it"
        )
    if _CERTIFICATE not in _text(tls.cert_file):
        return "cert_file", (
            f"wanted a certificate in PEM form in {tls.cert_file}; found none"
        )
    if "PRIVATE KEY-----" not in text:
        return "key_file", (
            f"wanted a private key in PEM form in {tls.key_file}; found none"
        )
    return "cert_file", (
        f"wanted a certificate in {tls.cert_file} and its key in {tls.key_file} that "
        "OpenSSL takes; found some that it does not "
        f"({in_words(error)})"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="latin-1")
    except OSError:
        return ""  # it went while it was looked at


def _ask(context: ssl.SSLContext, tls: TlsServer, said_in: Path) -> None:
    """Take whose certificates clients may show."""
    context.verify_mode = _ASKS[tls.client_auth_type]
    if tls.client_ca_file is None:
        return
    text = _read(tls.client_ca_file, "client_ca_file", said_in)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        found = f"wanted certificates of authorities in {tls.client_ca_file}; found "
        raise _mistaken(said_in, "client_ca_file", found + "none") from None


def _read(path: Path, key: str, said_in: Path) -> str:
    try:
        with opened(path) as file:
            return file.read().decode("ascii", errors="ignore")
    except OSError as error:
        trouble = (error.strerror or type(error).__name__).lower()
        text = f"wanted a file that can be read at {path}; found: {trouble}"
        raise _mistaken(said_in, key, text) from None


def _mistaken(said_in: Path, key: str, text: str, *more: int) -> ConfigError:
    path = key_path(("tls_server_config", key, *more))
    return ConfigError([Mistake(where=str(said_in), key=path, text=text)])
