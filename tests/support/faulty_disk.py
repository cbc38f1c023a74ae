"""A disk that fails on demand, for one program and the files of one directory.

A library that is preloaded into the program (`faulty_disk.c`, compiled here) refuses
writes or notes them; this module tells it what to refuse and reads what it noted.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("faulty_disk.c")
UNLIMITED = -1
_NUMBERS = ("room", "writes_left", "syncs_left", "lasting", "struck", "writes", "syncs")
_RECORD = struct.Struct("=qqiiq")


def compiled(directory: Path) -> Path:
    """Compile the library into a directory and return it."""
    library = directory / "faulty_disk.so"
    command = ["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*command, str(SOURCE), "-ldl"], check=True)
    return library


class Kind(IntEnum):
    """What was done to a file."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 3
    CREATE = 4
    REMOVE = 5
    RENAME = 6


class Deed(NamedTuple):
    """Something that was done to a file, or to the directory ("")."""

    at: float  #: s, by the monotonic clock, when it was done
    kind: Kind
    name: str
    offset: int  #: of a write; the length of a truncation
    data: bytes  #: of a write; the new name, of a renaming


@dataclass(slots=True)
class FaultyDisk:
    """The disk under one directory, as one program sees it."""

    library: Path
    under: Path
    control: Path
    log: Path | None
    _numbers: mmap.mmap

    @property
    def environment(self) -> Mapping[str, str]:
        """What puts a program on this disk."""
        environ = {
            "LD_PRELOAD": str(self.library),
            "FAULTY_DISK_UNDER": str(self.under),
            "FAULTY_DISK_CONTROL": str(self.control),
        }
        return (
            environ
            if self.log is None
            else environ | {"FAULTY_DISK_LOG": str(self.log)}
        )

    def fill(self, room: int = 0) -> None:
        """Let files grow by so many bytes and no more."""
        self._set("room", room)

    def free(self) -> None:
        """Let there be room."""
        self._set("room", UNLIMITED)

    def fail_write(self, nth: int, *, lasting: bool = False) -> None:
        """Let the n-th write from now fail with EIO; with `lasting`, all after it."""
        self._set("lasting", int(lasting))
        self._set("writes_left", nth)

    def fail_sync(self, nth: int, *, lasting: bool = False) -> None:
        """Let the n-th sync from now fail with EIO; with `lasting`, all after it."""
        self._set("lasting", int(lasting))
        self._set("syncs_left", nth)

    def heal(self) -> None:
        """Let nothing fail any more."""
        for name in ("room", "writes_left", "syncs_left"):
            self._set(name, UNLIMITED)

    @property
    def struck(self) -> int:
        """How often something was refused."""
        return self._get("struck")

    @property
    def writes(self) -> int:
        """How many writes there were."""
        return self._get("writes")

    @property
    def syncs(self) -> int:
        """How many syncs there were."""
        return self._get("syncs")

    def deeds(self) -> list[Deed]:
        """Return what was noted, in the order it happened."""
        assert self.log is not None, "nothing is noted"
        raw = self.log.read_bytes() if self.log.exists() else b""
        return list(_deeds(raw))

    def _set(self, name: str, value: int) -> None:
        at = _NUMBERS.index(name) * 8
        self._numbers[at : at + 8] = struct.pack("=q", value)

    def _get(self, name: str) -> int:
        at = _NUMBERS.index(name) * 8
        number: int = struct.unpack("=q", self._numbers[at : at + 8])[0]
        return number


def _deeds(raw: bytes) -> Iterator[Deed]:
    at = 0
    while at + _RECORD.size <= len(raw):
        moment, offset, kind, name_length, length = _RECORD.unpack_from(raw, at)
        at += _RECORD.size
        name = raw[at : at + name_length].decode()
        at += name_length
        yield Deed(moment / 1e9, Kind(kind), name, offset, raw[at : at + length])
        at += length


@contextmanager
def faulty_disk(
    library: Path, directory: Path, *, under: Path, noting: bool = False
) -> Iterator[FaultyDisk]:
    """Lend a disk that is fine until it is told otherwise.

    `directory` is for the files of the disk itself; with `noting` it keeps a record of
    everything that is done to the files in `under`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    control = directory / "control"
    control.write_bytes(bytes(8 * len(_NUMBERS)))
    control.chmod(0o666)  # the program may be somebody else's
    log = directory / "log" if noting else None
    with control.open("r+b") as file, mmap.mmap(file.fileno(), 0) as numbers:
        disk = FaultyDisk(library, under, control, log, numbers)
        disk.heal()
        yield disk
