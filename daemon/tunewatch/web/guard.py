"""Who may ask what: the Host header, where a page is from, the token and its scopes.

Decides from the request alone, and notes in it who asks; knows no handler.
"""

from __future__ import annotations

import math
from urllib.parse import urlsplit

from aiohttp import web

from tunewatch.config import Address, Scope, Token
from tunewatch.web.doorkeeper import Doorkeeper, Text
from tunewatch.web.failures import Failures
from tunewatch.web.problems import problem

OPEN = frozenset({"/livez", "/readyz", "/metrics"})
"""Answered to anyone who can reach the port: probes and scrapes have no token."""

OPEN_PREFIX = "/hooks/"  #: these carry a signature of their own
READING = ("GET", "HEAD")

BY = web.RequestKey("tunewatch.by", str)
"""Who asks, for the record: the token's name, else `api:` and the address."""


class Guard:
    """Lets a request through, or says why not."""

    def __init__(
        self, address: Address, token: Text | None, failures: Failures | None = None
    ) -> None:
        self._address = address
        self._doorkeeper = Doorkeeper(token)
        self._failures = failures or Failures()

    def refusal(self, request: web.Request) -> web.Response | None:
        """Return the answer to a request that is not let through, else None."""
        if request.path.startswith(OPEN_PREFIX):
            return None  # a proxy in front hands on the name that the provider knows
        if self._address.is_loopback and not self._is_our_host(request):
            return problem(
                403,
                "this server answers to localhost and loopback addresses only; the "
                "Host header names another one",
            )
        if _is_of_another_site(request):
            return problem(403, "pages of other sites may not ask this server")
        if request.path in OPEN:
            return None
        if self._address.is_loopback and request.method in READING:
            return None
        return self._without_token(request)

    def _is_our_host(self, request: web.Request) -> bool:
        """Whether it is no name that someone else's DNS points at this machine."""
        name = _host_name(request.headers.get("Host", ""))
        return Address(name, 0).is_loopback or name == self._address.host

    def _without_token(self, request: web.Request) -> web.Response | None:
        tokens = self._doorkeeper.tokens()
        if not tokens.accepted:
            return problem(403, self._closed())
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return _unauthorized()
        who = request.remote or ""
        wait = self._failures.wait(who)
        if wait > 0:
            return problem(
                429,
                "too many wrong tokens from this address; ask again later",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        token = tokens.find(given.strip())
        if token is None:
            self._failures.note(who)
            return _unauthorized()
        request[BY] = token.name or f"api:{who}"
        return _out_of_scope(request, token)

    def _closed(self) -> str:
        if self._address.is_loopback:
            return (
                "without a token only reading is allowed; name one in "
                "daemon.api_token_file to allow the rest"
            )
        return (
            "off loopback only probes, /metrics and hooks answer; name a token in "
            "daemon.api_token_file to open the rest"
        )


def _unauthorized() -> web.Response:
    return problem(
        401,
        "wanted a token of daemon.api_token_file as a bearer token",
        headers={"WWW-Authenticate": 'Bearer realm="tunewatch"'},
    )


def _out_of_scope(request: web.Request, token: Token) -> web.Response | None:
    needed: Scope = "read" if request.method in READING else "act"
    if needed in token.scopes:
        return None
    has = ",".join(sorted(token.scopes))
    return problem(
        403,
        f"this needs a token with the scope {needed}; {token.name} has {has}. Scopes "
        "are in the lines of daemon.api_token_file",
        headers={
            "WWW-Authenticate": 'Bearer realm="tunewatch", '
            f'error="insufficient_scope", scope="{needed}"'
        },
    )


def _is_of_another_site(request: web.Request) -> bool:
    """Whether a browser says that a page of another site asks.

    Following a link is no asking: the page it is on cannot read the answer.
    """
    origin = request.headers.get("Origin")
    if origin is not None:
        return (
            urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower()
        )
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site in {"none", "same-origin"}:
        return False
    mode = request.headers.get("Sec-Fetch-Mode")
    return not (mode == "navigate" and request.method in READING)


def _host_name(header: str) -> str:
    """Return the host of a Host header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower().rstrip(".")
