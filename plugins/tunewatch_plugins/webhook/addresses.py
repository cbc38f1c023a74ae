"""Which network addresses a webhook may reach: one table, and who may be let through.

Knows addresses only: no names, no sockets, no settings. An address that carries another
one inside (mapped, translated, tunnelled) is judged by what it carries, because that is
where the packets end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class Reach(Enum):
    """How far an address may be trusted. Compare with `>`: higher is worse."""

    PUBLIC = 0  #: anywhere on the internet
    INSIDE = 1  #: loopback or private: only if the operator named it
    NEVER = 2  #: metadata services and addresses no receiver can have

    def __gt__(self, other: Reach) -> bool:
        return self.value > other.value


@dataclass(frozen=True, slots=True)
class Standing:
    """What an address is, in one word for people and one for decisions."""

    reach: Reach
    what: str
    within: tuple[Address, ...] = ()  #: the addresses that it carries inside


_NEVER = {
    "0.0.0.0/8": "this network",
    "100.100.100.200/32": "a cloud's metadata service",  # Alibaba, inside CGNAT
    "168.63.129.16/32": "a cloud's metadata service",  # Azure's host, a public address
    "169.254.0.0/16": "link-local, where clouds keep metadata services",
    "192.0.0.0/24": "protocol assignments",  # 192.0.0.192 is Oracle's metadata service
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "6to4 relays",
    "198.18.0.0/15": "benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved or broadcast",
    "::/128": "unspecified",
    "100::/64": "discard only",
    "100:0:0:1::/64": "discard only",
    "2001:2::/48": "benchmarks",
    "2001:10::/28": "identifiers, not addresses",
    "2001:20::/28": "identifiers, not addresses",
    "2001:db8::/32": "documentation",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fd00:42::42/128": "a cloud's metadata service",  # Scaleway
    "fd00:ec2::/32": "a cloud's metadata service",  # Amazon
    "fd20:ce::254/128": "a cloud's metadata service",  # Google
    "fe80::/10": "link-local",
    "fec0::/10": "site-local, withdrawn",
    "ff00::/8": "multicast",
}
_INSIDE = {
    "10.0.0.0/8": "a private network",
    "100.64.0.0/10": "a carrier's private network",
    "127.0.0.0/8": "loopback",
    "172.16.0.0/12": "a private network",
    "192.168.0.0/16": "a private network",
    "::1/128": "loopback",
    "fc00::/7": "a private network",
}
# What must never be reached comes first: it lies inside what may be named.
_TABLE: tuple[tuple[Network, Standing], ...] = tuple(
    (ip_network(text), Standing(reach, what))
    for reach, table in ((Reach.NEVER, _NEVER), (Reach.INSIDE, _INSIDE))
    for text, what in table.items()
)
_PUBLIC = Standing(Reach.PUBLIC, "a public address")
_UNASSIGNED = Standing(Reach.NEVER, "not assigned to anybody")
_ASSIGNMENTS = IPv6Network("2001::/23")
_GLOBAL_UNICAST = IPv6Network("2000::/3")

_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_METADATA = tuple(
    IPv4Network(text)
    for text, what in _NEVER.items()
    if "metadata" in what and ":" not in text
)
_ISATAP = (0x00005EFE, 0x02005EFE)


def parse(text: str) -> Address:
    """Return the address of a socket or a URL, without zone. Raises ValueError."""
    return ip_address(text.partition("%")[0])


def standing(address: Address) -> Standing:
    """Return what an address is, judged by the worst of what it carries inside."""
    known = _listed(address)
    if known is not None:
        return known
    if isinstance(address, IPv4Address):
        return _PUBLIC
    own, carried = _unwrapped(address)
    worst = own
    for inner in carried:
        judged = standing(inner)
        if judged.reach > worst.reach:
            worst = Standing(judged.reach, f"{judged.what}, carried as {inner}")
    return Standing(worst.reach, worst.what, tuple(carried))


def _listed(address: Address) -> Standing | None:
    for network, known in _TABLE:
        if address.version == network.version and address in network:
            return known
    return None


def _unwrapped(address: IPv6Address) -> tuple[Standing, list[Address]]:
    """Return what the wrapping itself is, and the addresses inside."""
    number = int(address)
    last = IPv4Address(number & 0xFFFFFFFF)
    if any(address in net for net in (_MAPPED, _TRANSLATED, _NAT64, _COMPATIBLE)):
        return _PUBLIC, [last]
    if address in _LOCAL_NAT64:
        inside = Standing(Reach.INSIDE, "a private network's NAT64")
        return inside, _local_nat64(number)
    if address in _SIX_TO_FOUR:
        return _PUBLIC, [IPv4Address(number >> 80 & 0xFFFFFFFF)]
    if address in _TEREDO:
        server = IPv4Address(number >> 64 & 0xFFFFFFFF)
        return _PUBLIC, [server, IPv4Address(int(last) ^ 0xFFFFFFFF)]
    if address in _ASSIGNMENTS or address not in _GLOBAL_UNICAST:
        return _UNASSIGNED, []
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        return _PUBLIC, [last]
    return _PUBLIC, []


def _local_nat64(number: int) -> list[Address]:
    """Return the addresses that a local NAT64 prefix may carry (RFC 6052, 2.2).

    The prefix may end at bit 48, 56, 64 or 96, and only its network knows where; bits
    64 to 71 are always skipped. Of the three unusual readings only those count that
    are dangerous behind any translator: the others would accuse the usual one.
    """
    without_gap = (number >> 64 << 56) | (number & (1 << 56) - 1)
    unusual = [IPv4Address(without_gap >> n & 0xFFFFFFFF) for n in (40, 32, 24)]
    usual = IPv4Address(number & 0xFFFFFFFF)
    found: list[Address] = [usual] if int(usual) & 0xFFFFFF else []
    return found + [each for each in unusual if _is_metadata(each)]


def _is_metadata(address: IPv4Address) -> bool:
    return any(address in network for network in _METADATA)
