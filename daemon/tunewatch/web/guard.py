"""Who may ask what: the Host header, where a page is from, tokens and passwords.

Decides from the request alone, and notes in it who asks; knows no handler.
"""

from __future__ import annotations

import base64
import math
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from multidict import CIMultiDict

from tunewatch.config import Address, Scope, Token
from tunewatch.web.doorkeeper import Doorkeeper, Text
from tunewatch.web.failures import Failures
from tunewatch.web.passwords import Busy, Passwords
from tunewatch.web.problems import problem
from tunewatch.web.terms import TermsFile
from tunewatch.web.tls import is_allowed

PROBES = frozenset({"/livez", "/readyz"})
OPEN = frozenset({*PROBES, "/metrics"})
"""Answered to anyone who can reach the port: probes and scrapes have no token. Where
somebody has a password, `PROBES` alone are: a scrape can send one, a probe cannot."""

OPEN_PREFIX = "/hooks/"  #: these carry a signature of their own
READING = ("GET", "HEAD")

BY = web.RequestKey("tunewatch.by", str)
"""Who asks, for the record: the token's name, else `api:` and the address."""


class Guard:
    """Lets a request through, or says why not."""

    def __init__(
        self,
        address: Address,
        token: Text | None,
        failures: Failures | None = None,
        *,
        terms: TermsFile,
        passwords: Passwords,
    ) -> None:
        self._address = address
        self._doorkeeper = Doorkeeper(token)
        self._failures = failures or Failures()
        self._terms = terms
        self._passwords = passwords

    async def refusal(self, request: web.Request) -> web.Response | None:
        """Return the answer to a request that is not let through, else None."""
        if not self._is_shown(request):
            return _not_allowed()
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
        if request.path in (PROBES if self._terms.now.users else OPEN):
            return None
        if self._is_open(request):
            return None
        return await self._unless_known(request)

    def _is_open(self, request: web.Request) -> bool:
        """Whether anybody on this machine may ask."""
        is_asked = bool(self._terms.now.users)
        return self._address.is_loopback and request.method in READING and not is_asked

    def _is_shown(self, request: web.Request) -> bool:
        """Whether the certificate of the connection has a name that is allowed."""
        names = self._terms.now.names
        return not names or is_allowed(request.get_extra_info("peercert"), names)

    def _is_our_host(self, request: web.Request) -> bool:
        """Whether it is no name that someone else's DNS points at this machine."""
        name = _host_name(request.headers.get("Host", ""))
        return Address(name, 0).is_loopback or name == self._address.host

    async def _unless_known(self, request: web.Request) -> web.Response | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        may_have_password = bool(self._terms.now.users) and request.method in READING
        if scheme.lower() == "basic" and self._terms.now.users:
            return await self._by_password(request, given.strip())
        tokens = self._doorkeeper.tokens()
        if not tokens.accepted and not may_have_password:
            return problem(403, self._closed())
        if scheme.lower() != "bearer":
            return _unauthorized(may_have_password)
        if (answer := self._if_guessing(request)) is not None:
            return answer
        token = tokens.find(given.strip())
        if token is None:
            self._failures.note(request.remote or "")
            return _unauthorized(may_have_password)
        request[BY] = token.name or f"api:{request.remote or ''}"
        return _out_of_scope(request, token)

    async def _by_password(
        self, request: web.Request, given: str
    ) -> web.Response | None:
        """Let whoever has a password read, and no more.

        A browser sends it along by itself, and a scraper has it: neither is a reason to
        do anything.
        """
        if request.method not in READING:
            return problem(403, "a password opens reading; this needs a token with act")
        name, password = _name_and_password(given)
        if not self._passwords.remembers(self._terms.now.users, name, password):
            answer = self._if_guessing(request)
            if answer is None:
                answer = await self._unless_right(request, name, password)
            if answer is not None:
                return answer
        request[BY] = name
        return None

    async def _unless_right(
        self, request: web.Request, name: str, password: bytes
    ) -> web.Response | None:
        is_wrong = True
        try:
            users = self._terms.now.users
            is_wrong = not await self._passwords.are_right(users, name, password)
        except Busy:
            is_wrong = False
            again = {"Retry-After": "1"}
            return problem(503, "too many passwords wait; ask again", headers=again)
        finally:
            # Who hung up meanwhile had the work done all the same.
            if is_wrong:
                self._failures.note(request.remote or "")
        return _unauthorized(may_have_password=True) if is_wrong else None

    def _if_guessing(self, request: web.Request) -> web.Response | None:
        wait = self._failures.wait(request.remote or "")
        if wait <= 0:
            return None
        return problem(
            429,
            "too many wrong tokens or passwords from this address; ask again later",
            headers={"Retry-After": str(math.ceil(wait))},
        )

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


def _unauthorized(may_have_password: bool) -> web.Response:
    wanted = "a token of daemon.api_token_file as a bearer token"
    asked = ['Bearer realm="tunewatch"']
    if may_have_password:
        wanted = f"a name and password of basic_auth_users, or {wanted}"
        asked.insert(0, 'Basic realm="tunewatch", charset="UTF-8"')
    headers = CIMultiDict((hdrs.WWW_AUTHENTICATE, one) for one in asked)
    return problem(401, f"wanted {wanted}", headers=headers)


def _not_allowed() -> web.Response:
    answer = problem(
        403,
        "the certificate that this connection shows has no name of client_allowed_sans",
    )
    answer.force_close()
    return answer


def _name_and_password(given: str) -> tuple[str, bytes]:
    """Return them; what cannot be read is nobody's."""
    try:
        name, _, password = base64.b64decode(given, validate=True).partition(b":")
        return name.decode(), password
    except ValueError:
        return "", b""


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
