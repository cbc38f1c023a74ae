"""Where the daemon listens and where its state is, as people write them.

Pure text: opens and resolves nothing.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from tunewatch.settings import Wanted

_WANTED = "an address such as 127.0.0.1:9478 or [::1]:9478"


class Address(NamedTuple):
    """A host and a TCP port to listen on; port 0 takes a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(value: object) -> Address:
    """Return the address. Raises Wanted."""
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise Wanted(_WANTED)
    host, _, port = value.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Wanted(_WANTED)
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise Wanted(_WANTED)
    return Address(host, int(port))


def split_state(url: str) -> tuple[str, str | None]:
    """Return the store's URL without its password, and the password.

    Raises Wanted for anything but sqlite:///path and postgresql://user@host/database,
    where several servers may be named instead of one: one:5432,two:5432.
    """
    try:
        parts = urlsplit(url)
        password = parts.password
        servers = ",".join(map(_server, parts.netloc.rpartition("@")[2].split(",")))
    except ValueError:
        raise Wanted(_WANTED_STATE) from None
    if parts.scheme == "sqlite":
        if parts.netloc or len(parts.path) < 2:
            raise Wanted(_WANTED_STATE)
        return url, None
    if parts.scheme not in ("postgresql", "postgres") or len(parts.path) < 2:
        raise Wanted(_WANTED_STATE)
    user = f"{parts.username}@" if parts.username else ""
    netloc = user + servers
    plain = urlunsplit(("postgresql", netloc, parts.path, parts.query, ""))
    if not netloc:  # a socket: urlunsplit would drop the slashes
        plain = f"postgresql://{parts.path}" + (f"?{parts.query}" * bool(parts.query))
    return plain, unquote(password) if password else None


def _server(text: str) -> str:
    """Return one server of an address as we write it. Raises ValueError."""
    parts = urlsplit(f"//{text}")
    host, port = parts.hostname or "", parts.port
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


_WANTED_STATE = "sqlite:////path/of/state.db or postgresql://user@host/database"
