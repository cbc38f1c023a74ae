"""Where to send: a URL that is itself a secret, and what of it may be shown.

Only the host may be shown. Dials nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from yarl import URL

from tunewatch_plugins.webhook.addresses import parse
from tunewatch_plugins.webhook.allowed import AllowList, Guard

_LONGEST = 4096


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """A receiver."""

    url: URL

    def __repr__(self) -> str:
        return f"Target({self.host})"

    @property
    def host(self) -> str:
        """The host's name or address, lower case, without a closing dot."""
        return (self.url.host or "").lower().rstrip(".")

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """What connections belong to."""
        return (self.url.scheme, self.host, self.url.port)

    def guard(self, allowed: AllowList) -> Guard:
        """Return what opens the sockets towards this receiver."""
        return Guard(self.host, self.url.scheme == "http", allowed)

    def secrets(self) -> Iterator[str]:
        """Yield the pieces of the URL that a receiver may repeat and nobody may see."""
        pieces = [*self.url.raw_parts[1:], *self.url.parts[1:]]
        pieces += self.url.query.values()
        for piece in pieces:
            yield piece
            yield quote(piece, safe="")


def target(text: str) -> Target:
    """Return the receiver that a URL names.

    Raises ValueError that says what is wrong with it and never repeats it.
    """
    lines = text.split()
    if len(lines) != 1:
        raise ValueError(f"wanted one URL, found {len(lines)}")
    if len(lines[0]) > _LONGEST:
        raise ValueError(f"wanted a URL of at most {_LONGEST} characters")
    try:
        url = URL(lines[0])
        host, port = url.host, url.port
    except ValueError:  # its text repeats the URL
        raise ValueError("wanted a URL, found something that is none") from None
    if url.scheme not in ("https", "http"):
        raise ValueError("wanted a URL that begins with https://")
    if not host or not port:
        raise ValueError("wanted a URL with a host: https://host/path")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("wanted a URL without user name and password before the host")
    return Target(url.with_fragment(None))


def check(receiver: Target, allowed: AllowList) -> Target:
    """Return the receiver if its URL alone does not already rule it out.

    Names are judged again where they lead, when a socket connects. Raises ValueError
    that says which entry of `allow_hosts` would permit it.
    """
    guard = receiver.guard(allowed)
    try:
        refusal = guard.refusal(parse(receiver.host))
    except ValueError:  # a name
        refusal = _refusal_by_name(guard)
    if refusal is not None:
        raise ValueError(refusal)
    return receiver


def _refusal_by_name(guard: Guard) -> str | None:
    host, allowed = guard.host, guard.allowed
    if allowed.has_name(host):
        return None
    entry = f'add allow_hosts = ["{host}"]'
    if guard.is_plain and not allowed.networks:
        return f"{host} is asked by http without TLS: use https, or {entry}"
    if host == "localhost" and not allowed.networks:
        return f"{host} is loopback: if that is meant, {entry}"
    return None
