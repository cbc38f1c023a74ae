"""What is wrong with a web configuration file though each of its values is right.

Says for each what was wanted, and nothing of what stands there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tunewatch.config.tls_names import VERSIONS
from tunewatch.config.web_file import HttpServer, TlsServer, WebFile
from tunewatch.settings import Mistake, Place, hint

COSTLIEST = 16
"""The highest cost of a password's hash: some seconds for each that is looked at."""
HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)
"""What may be added to answers."""

_VALUES = {
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
}
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}", re.ASCII)

_Told = tuple[tuple[str, ...], str]
"""A key's path, and what is wrong with it."""


def contradictions(found: WebFile, place: Place) -> Iterator[Mistake]:
    """Yield them."""
    for key, text in (
        *_of_tls(found.tls_server_config),
        *_of_http(found.http_server_config),
        *_of_users(found.basic_auth_users),
    ):
        yield place.mistake(key, text)
    limit = found.rate_limit
    if limit.interval > 0 and limit.burst < 1:
        text = "wanted at least 1: without it no request is ever let in"
        yield place.mistake(("rate_limit", "burst"), text)


def _of_tls(tls: TlsServer | None) -> Iterator[_Told]:
    if tls is None:
        return
    where = "tls_server_config"
    yield from (((where, key), text) for key, text in _of_clients(tls))
    ages = list(VERSIONS)
    if ages.index(tls.min_version) > ages.index(tls.max_version):
        text = "wanted at least min_version; found an older one"
        yield (where, "max_version"), text
    if len(tls.curve_preferences) > 1:
        text = "wanted one curve: Python lets nobody choose an order among several; "
        yield (where, "curve_preferences"), text + "found more"


def _of_clients(tls: TlsServer) -> Iterator[tuple[str, str]]:
    asks, has_ca = tls.client_auth_type != "NoClientCert", tls.client_ca_file
    if asks and has_ca is None:
        text = "wanted who signs the certificates of clients, since client_auth_type "
        yield "client_ca_file", text + "asks for them; found nothing"
    if has_ca is not None and not asks:
        text = "wanted RequireAndVerifyClientCert, since client_ca_file is there; "
        yield "client_auth_type", text + "found that nobody is asked for a certificate"
    if tls.client_allowed_sans and tls.client_auth_type != "RequireAndVerifyClientCert":
        text = "wanted client_auth_type: RequireAndVerifyClientCert beside it; else "
        text += "who shows no certificate has no name to be allowed"
        yield "client_allowed_sans", text


def _of_http(http: HttpServer) -> Iterator[_Told]:
    where = "http_server_config"
    if http.http2:
        text = "wanted false, or no word of it: HTTP/1.1 is what is spoken here"
        yield (where, "http2"), text
    for name, value in http.headers.items():
        wrong = _of_header(name, value)
        if wrong is not None:
            yield (where, "headers", name), wrong


def _of_header(name: str, value: str) -> str | None:
    if name not in HEADERS:
        return f"this header cannot be set; {hint(name, HEADERS)}"
    allowed = _VALUES.get(name)
    if allowed is not None and value not in allowed:
        return f"wanted {' or '.join(allowed)}; found something else"
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in value):
        return "wanted one line of text; found control characters"
    return None


def _of_users(users: Mapping[str, str]) -> Iterator[_Told]:
    for name, value in users.items():
        wrong = _of_user(name, value)
        if wrong is not None:
            yield ("basic_auth_users", name), wrong


def _of_user(name: str, value: str) -> str | None:
    found = _HASH.fullmatch(value)
    if found is None:
        return (
            "wanted a bcrypt hash, which begins with $2y$, $2b$ or $2a$, as "
            "`htpasswd -nBC 10 NAME` makes one; found something else"
        )
    if not 4 <= int(found[1]) <= COSTLIEST:
        return (
            f"wanted a bcrypt cost of 4 to {COSTLIEST}; found another, whose check "
            "would take minutes or is not defined"
        )
    if ":" in name or not name:
        return "wanted a name without a colon, which ends the name in a request"
    return None
