"""What surrounds a configuration: files others can read, odd disks, and the port.

Nothing here is a mistake in the configuration itself, and nothing is changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tunewatch.cli.check_port import look_at_port
from tunewatch.cli.told import Told
from tunewatch.config import Settings
from tunewatch.store.address import sqlite_path

SHARED_DISKS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "fuse.glusterfs", "ceph"}
)
"""File systems that several machines write: SQLite's log beside its file needs memory
that all its users share (https://www.sqlite.org/wal.html)."""
CLOCK_SLACK = 5.0
"""s by which our clock may differ from a provider's: signatures carry our time."""


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
    look_at_port(settings.daemon, told)


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
            if is_open(secret.file):
                yield secret.file, "every user of this machine can read this secret"
    if any(secret.is_inline for secret in secrets):
        for name in settings.files:
            if is_open(Path(name)):
                yield Path(name), "has a secret in it, and every user can read it"


def is_open(path: Path) -> bool:
    """Whether every user of the machine can read a file."""
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
