"""How often an address may be wrong: guessing a token takes for ever.

Counts what failed, and only that: whoever has the right token is never held up by it.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

AT_ONCE = 20
"""Wrong tokens of one address in a row."""
EACH = 1.0
"""s for each further one."""
KNOWN = 1024
"""Addresses that are remembered."""


class Failures:
    """The wrong tokens of late, by address."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until: dict[str, float] = {}  #: when all is forgotten

    def wait(self, who: str) -> float:
        """Return the seconds until an address may try again; 0 is now."""
        owed = self._until.get(_network(who), 0.0) - self._now()
        return max(0.0, owed - (AT_ONCE - 1) * EACH)

    def note(self, who: str) -> None:
        """Take in that an address gave a wrong token."""
        network, now = _network(who), self._now()
        until = max(now, self._until.pop(network, 0.0)) + EACH
        self._until[network] = until
        while len(self._until) > KNOWN:
            del self._until[next(iter(self._until))]


def _network(who: str) -> str:
    """Return what one guesser has: an IPv4 address, or a whole IPv6 network."""
    try:
        address = ipaddress.ip_address(who.partition("%")[0])
    except ValueError:
        return who
    if address.version == 4:
        return who
    return str(ipaddress.ip_network((address, 64), strict=False))
