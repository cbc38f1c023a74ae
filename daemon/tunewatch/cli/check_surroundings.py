"""What surrounds a configuration: files others can read, a port in use, odd disks.

Nothing here is a mistake in the configuration itself, and nothing is changed.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from tunewatch.cli.exits import USAGE
from tunewatch.config import Address, Settings
from tunewatch.store.address import sqlite_path

SHARED_DISKS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "fuse.glusterfs", "ceph"}
)
"""File systems that several machines write: SQLite's log beside its file needs memory
that all its users share (https://www.sqlite.org/wal.html)."""
CLOCK_SLACK = 5.0
"""s by which our clock may differ from a provider's: signatures carry our time."""
_SOON = 1.0  #: s for whoever listens to say who it is


class Told(Protocol):
    """Where findings go: `check_command.Report`."""

    def well(self, what: str, found: str) -> None:
        """Note that something is as it should be."""
        ...

    def note(self, what: str, found: str) -> None:
        """Note what is no fault."""
        ...

    def wrong(self, what: str, found: str, code: int) -> None:
        """Note that something is not as it should be."""
        ...


class _Mount(NamedTuple):
    point: Path
    kind: str


def look_around(settings: Settings, told: Told) -> None:
    """Look at files, disk and port."""
    for file, why in _open_files(settings):
        told.note(str(file), f"{why}: chmod o-rwx {file}")
    path = sqlite_path(settings.daemon.state)
    kind = None if path is None else _disk_of(path)
    if kind in SHARED_DISKS:
        text = f"lies on {kind}, where SQLite can damage it: name a file on a disk of "
        told.note("store", text + "this machine, or use PostgreSQL (daemon.state)")
    _look_at_port(settings.daemon.listen, told)


def clock_text(offset: float | None) -> str | None:
    """Return what to say of our clock, by what a provider's answer tells; or nothing.

    `offset` is how many seconds ours is ahead.
    """
    if offset is None or abs(offset) <= CLOCK_SLACK:
        return None
    side = "ahead of" if offset > 0 else "behind"
    return (
        f"the clock of this machine is {abs(offset):.0f} s {side} the provider's: "
        "receivers refuse signatures of another time; let it be set by NTP"
    )


def _open_files(settings: Settings) -> Iterator[tuple[Path, str]]:
    """Yield files with secrets that every user of the machine can read."""
    seen: set[Path] = set()
    secrets = list(settings.secrets())
    for secret in secrets:
        if secret.file is not None and secret.file not in seen:
            seen.add(secret.file)
            if _is_open(secret.file):
                yield secret.file, "every user of this machine can read this secret"
    if any(secret.is_inline for secret in secrets):
        for name in settings.files:
            if _is_open(Path(name)):
                yield Path(name), "has a secret in it, and every user can read it"


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _disk_of(path: Path) -> str | None:
    """Return the kind of file system that a path lies on, None if that is not known."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    whole = Path(os.path.realpath(path))
    found = [one for one in _mounts(lines) if whole.is_relative_to(one.point)]
    return max(found, key=lambda one: len(one.point.parts)).kind if found else None


def _mounts(lines: list[str]) -> Iterator[_Mount]:
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].replace("\\040", " ")
        yield _Mount(Path(point), right.split(" ")[0])


def _look_at_port(address: Address, told: Told) -> None:
    what = f"listen {address}"
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address.host, address.port))
        except OSError as error:
            _cannot_bind(address, error, what, told)


def _cannot_bind(address: Address, error: OSError, what: str, told: Told) -> None:
    if error.errno == errno.EADDRINUSE and _is_ours(address):
        told.well(what, "a daemon of tunewatch runs there")
        return
    reason = {
        errno.EADDRINUSE: "another program listens there: name another port",
        errno.EACCES: "this user may not listen there: name a port from 1024 on",
        errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    }.get(error.errno or 0, (error.strerror or "it cannot be had").lower())
    told.wrong(what, f"{reason} (daemon.listen)", USAGE)


def _is_ours(address: Address) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    url = f"http://{Address(host, address.port)}/livez"
    try:
        with urllib.request.urlopen(url, timeout=_SOON) as answer:
            server = answer.headers.get("Server")
    except urllib.error.HTTPError as refusal:
        server = refusal.headers.get("Server")
    except (OSError, ValueError):
        return False
    return bool(server == "tunewatch")
