"""Addresses in settings: checked, in one spelling, and never echoed.

A URL may hold a password, so messages say what is wanted and nothing that was given.
Knows no provider.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}
# A label of another length cannot be looked up at all.
_HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*|[0-9a-f:.]*:[0-9a-f:.]*")


def split_url(url: str, *, such_as: str) -> SplitResult:
    """Return the parts of a URL without user, query and fragment.

    Raises ValueError, without the URL, if it is none or has one of these.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is no number
    except ValueError:
        # Outside of the handler, so that nobody sees the URL in a chained error.
        parts = SplitResult("", "", "", "", "")
    if parts.scheme not in _PORTS or not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError("must be an http or https URL such as " + such_as)
    if "@" in parts.netloc:
        raise ValueError("must hold no user and no password: keys have a setting")
    if parts.query or parts.fragment:
        raise ValueError("must end with a path: no '?' and no '#'")
    return parts


def origin_of(parts: SplitResult) -> str:
    """Return scheme, host in lower case, and the port unless it is the usual one."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = parts.port in {None, _PORTS[parts.scheme]}
    return f"{parts.scheme}://{host}" + ("" if usual else f":{parts.port}")


def one_spelling(parts: SplitResult) -> str:
    """Return the URL in one spelling, without a slash at its end."""
    return origin_of(parts) + parts.path.rstrip("/")


def is_loopback(parts: SplitResult) -> bool:
    """Whether what is sent there stays on this machine."""
    host = parts.hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
