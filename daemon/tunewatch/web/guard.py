"""Who may ask what: the Host header, the token, and what is open to anyone.

Decides from the request alone; knows no handler.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from aiohttp import web

from tunewatch.config import Address
from tunewatch.web.problems import problem

Token = Callable[[], str | None]

OPEN = frozenset({"/livez", "/readyz", "/metrics"})
"""Answered to anyone who can reach the port: probes and scrapes have no token."""

OPEN_PREFIX = "/hooks/"  #: these carry a signature of their own


class Guard:
    """Lets a request through, or says why not."""

    def __init__(self, address: Address, token: Token | None) -> None:
        self._address = address
        self._token = token

    def refusal(self, request: web.Request) -> web.Response | None:
        """Return the answer to a request that is not let through, else None."""
        if self._address.is_loopback:
            return self._wrong_host(request)
        if request.path in OPEN or request.path.startswith(OPEN_PREFIX):
            return None
        return self._without_token(request)

    def _wrong_host(self, request: web.Request) -> web.Response | None:
        """Refuse a name that someone else's DNS points at this machine."""
        name = _host_name(request.headers.get("Host", ""))
        if Address(name, 0).is_loopback or name == self._address.host:
            return None
        return problem(
            403,
            "this server answers to localhost and loopback addresses only; the Host "
            "header names another one",
        )

    def _without_token(self, request: web.Request) -> web.Response | None:
        wanted = self._token() if self._token is not None else None
        if wanted is None:
            return problem(
                403,
                "off loopback only probes, /metrics and hooks answer; set "
                "daemon.api_token_file to open the rest",
            )
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _is_equal(given.strip(), wanted):
            return None
        return problem(
            401,
            "wanted the token of daemon.api_token_file as a bearer token",
            headers={"WWW-Authenticate": 'Bearer realm="tunewatch"'},
        )


def _host_name(header: str) -> str:
    """Return the host of a Host header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower().rstrip(".")


def _is_equal(given: str, wanted: str) -> bool:
    """Compare in a time that tells nothing, not even the length."""
    digests = [hashlib.sha256(text.encode()).digest() for text in (given, wanted)]
    return hmac.compare_digest(*digests)
