"""What a disk holds after the power went, by the record of what was done to it.

A file keeps what was synced; of what was written since, nothing survives, or any part
of it in any order. A name that was made, removed or changed is sure once its directory
was synced. Knows nothing of what the files mean.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.faulty_disk import Deed, Kind

SECTOR = 512
"""Bytes that a disk writes whole."""


@dataclass(slots=True)
class _File:
    sure: bytearray = field(default_factory=bytearray)
    pending: list[Deed] = field(default_factory=list)

    def apply(self, deed: Deed, only: Iterable[int] | None = None) -> None:
        """Do to the sure bytes what was done; of a write some sectors only."""
        if deed.kind is Kind.TRUNCATE:
            self._resize(deed.offset)
            return
        end = deed.offset + len(deed.data)
        if len(self.sure) < end:
            self._resize(end)
        if only is None:
            self.sure[deed.offset : end] = deed.data
            return
        for sector in only:
            part = deed.data[sector * SECTOR : (sector + 1) * SECTOR]
            begin = deed.offset + sector * SECTOR
            self.sure[begin : begin + len(part)] = part

    def _resize(self, length: int) -> None:
        del self.sure[length:]
        self.sure.extend(bytes(length - len(self.sure)))


@dataclass(slots=True)
class Disk:
    """The files of a directory, as far as they are sure, and what is not."""

    _files: dict[str, _File] = field(default_factory=dict)
    _sure_names: dict[str, _File] = field(default_factory=dict)

    @classmethod
    def of(cls, directory: Path) -> Disk:
        """Return the disk of a directory that lies there undisturbed."""
        disk = cls()
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                name = str(path.relative_to(directory))
                disk._files[name] = _File(bytearray(path.read_bytes()))
        disk._sure_names = dict(disk._files)
        return disk

    def do(self, deeds: Sequence[Deed]) -> None:
        """Take in what was done next."""
        for deed in deeds:
            match deed.kind:
                case Kind.SYNC if not deed.name:
                    self._sure_names = dict(self._files)
                case Kind.SYNC:
                    file = self._file(deed.name)
                    for one in file.pending:
                        file.apply(one)
                    file.pending.clear()
                case Kind.CREATE:
                    self._files[deed.name] = _File()
                case Kind.REMOVE:
                    self._files.pop(deed.name, None)
                case Kind.RENAME:
                    self._files[deed.data.decode()] = self._files.pop(deed.name)
                case _:
                    self._file(deed.name).pending.append(deed)

    def _file(self, name: str) -> _File:
        return self._files.setdefault(name, _File())

    def write(self, directory: Path, survives: float, chance: random.Random) -> None:
        """Write what the power loss left; each thing not sure survives with a chance.

        With 0.0 nothing does: the worst that is allowed. Else a write may be torn.
        """
        names = self._sure_names
        if survives and chance.random() < survives:
            names = self._files
        for name, file in names.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_left(file, survives, chance))
            path.chmod(0o600)


def _left(file: _File, survives: float, chance: random.Random) -> bytes:
    left = _File(bytearray(file.sure))
    for deed in file.pending if survives else ():
        sectors = range(-(-len(deed.data) // SECTOR))
        if deed.kind is Kind.TRUNCATE:
            if chance.random() < survives:
                left.apply(deed)
        elif some := [one for one in sectors if chance.random() < survives]:
            left.apply(deed, some)
    return bytes(left.sure)
