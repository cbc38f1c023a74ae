"""The operator's `allow_hosts`, and the judgement where a socket connects.

Decides at the address that is really dialled, so that neither a name's second answer
nor an odd spelling gets past. Knows nothing of HTTP.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from tunewatch_plugins.webhook.addresses import (
    Address,
    Network,
    Reach,
    parse,
    standing,
)

# Answers are short: a small window keeps a flood in the sender's hands, not in ours.
_RECEIVE_BUFFER = 32 * 1024
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?", re.ASCII)


class AddressRefused(OSError):
    """Say that an address must not be dialled. An OSError, so that aiohttp keeps it."""


@dataclass(frozen=True, slots=True)
class AllowList:
    """Who may be reached on private and loopback addresses, or by plain http."""

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()  #: ".svc.cluster.local"
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> AllowList:
        """Return the list of these entries. Raises ValueError for what is none."""
        names: set[str] = set()
        suffixes: list[str] = []
        networks: list[Network] = []
        for entry in entries:
            text = entry.strip().lower().rstrip(".")
            network = _network(text, entry)
            if network is not None:
                networks.append(network)
            elif not _NAME.fullmatch(text):
                raise ValueError(_no_entry(entry))
            elif text.startswith("*."):
                suffixes.append(text[1:])
            else:
                names.add(text)
        return cls(frozenset(names), tuple(suffixes), tuple(networks))

    def has_name(self, host: str) -> bool:
        """Whether the host is listed by name."""
        return host in self.names or host.endswith(self.suffixes)

    def covers(self, address: Address) -> bool:
        """Whether the address, or what it carries inside, is listed by network.

        What it carries counts as a whole: one address outside, and it is not covered.
        """
        carried = standing(address).within
        return self._within(address) or (
            bool(carried) and all(map(self._within, carried))
        )

    def _within(self, address: Address) -> bool:
        return any(
            address.version == network.version and address in network
            for network in self.networks
        )


def _network(text: str, entry: str) -> Network | None:
    bare = text.removeprefix("[").removesuffix("]")
    try:
        return ip_network(bare)
    except ValueError:
        pass
    try:
        whole = ip_network(bare, strict=False)
    except ValueError:
        return None
    raise ValueError(f"{entry!r} is an address inside a network; write {whole}")


def _no_entry(entry: str) -> str:
    shown = repr(entry) if len(entry) <= 80 and "://" not in entry else "an entry"
    return (
        f"{shown} is neither a host name, nor a name like *.svc.cluster.local, nor a"
        " network like 10.0.0.0/8"
    )


@dataclass(slots=True)
class Guard:
    """Opens the sockets towards one host, and refuses the addresses it must not have.

    Made for `TCPConnector(socket_factory=…)`, which shows every address dialled.
    """

    host: str  #: as in the URL: a name or an address, lower case
    is_plain: bool  #: http without TLS
    allowed: AllowList
    dialled: int = 0  #: sockets opened

    def __call__(self, info: tuple[Any, ...]) -> socket.socket:
        """Return a socket for the address. Raises AddressRefused."""
        family, kind, proto, _, where = info
        refusal = self.refusal(parse(str(where[0])))
        if refusal is not None:
            raise AddressRefused(errno.EACCES, refusal)
        self.dialled += 1
        opened = socket.socket(family=family, type=kind, proto=proto)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        return opened

    def refusal(self, address: Address) -> str | None:
        """Return why the address must not be reached and what permits it, or None."""
        judged = standing(address)
        is_itself = _is_same(self.host, address)
        what = f"{self.host} leads to {address} ({judged.what})"
        if is_itself:
            what = f"{address} is {judged.what}"
        if judged.reach is Reach.NEVER:
            return f"{what}: no receiver may be there, whatever allow_hosts says"
        if self.allowed.has_name(self.host) or self.allowed.covers(address):
            return None
        # Only as written in the URL: a name that leads to loopback is another matter.
        if (
            is_itself
            and judged.what == "loopback"
            and "localhost" in self.allowed.names
        ):
            return None
        entry = f'allow_hosts = ["{address if is_itself else self.host}"]'
        by_network = "" if is_itself else f' or ["{address}"]'
        if judged.reach is Reach.INSIDE:
            return f"{what}: if that is meant, add {entry}{by_network}"
        if self.is_plain:
            return f"{what}, by http without TLS: use https, or add {entry}{by_network}"
        return None


def _is_same(host: str, address: Address) -> bool:
    try:
        return parse(host) == address
    except ValueError:  # a name
        return False
