"""The text of one answer: a sheet for each family, written on in any order.

Jobs come some at a time and every job has something for every family, but a family's
lines belong together. So each has a sheet of its own; where gzip is wanted a sheet is
compressed as it is written, and the text, which is thirty times as long, never exists.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Protocol

from isal import isal_zlib

_FAST = 1
"""Half the size of what is faster still, and no more work would save much."""
_RAW, _MEMORY = -13, 1
"""A window of 8 KiB and 104 KiB in all for a sheet: what repeats itself is near, and
the usual 356 KiB save a hundredth of the text."""
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
_LAST_BLOCK = b"\x03\x00"
_ALL_ONES = 0xFFFFFFFF


class Sheet(Protocol):
    """The text of one family."""

    def write(self, text: bytes) -> None:
        """Add to its end."""
        ...


class PlainSheet:
    """Text as it is."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, text: bytes) -> None:
        """See `Sheet`."""
        self._pieces.append(text)

    def taken(self) -> bytes:
        """Return the text; the sheet is empty then."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class GzipSheet:
    """Text that is compressed at once, without the event loop's or other threads' lock.

    What it makes can stand behind anything else that was made so.
    """

    def __init__(self) -> None:
        self._squeeze = isal_zlib.compressobj(_FAST, wbits=_RAW, memLevel=_MEMORY)
        self._pieces: list[bytes] = []
        self.crc = 0
        self.length = 0

    def write(self, text: bytes) -> None:
        """See `Sheet`."""
        self.crc = isal_zlib.crc32(text, self.crc)
        self.length += len(text)
        piece = self._squeeze.compress(text)
        if piece:
            self._pieces.append(piece)

    def taken(self) -> bytes:
        """Return what the text became; nothing can be written any more."""
        self._pieces.append(self._squeeze.flush(isal_zlib.Z_SYNC_FLUSH))
        return b"".join(self._pieces)


def plain(sheets: Iterable[PlainSheet]) -> bytes:
    """Return the text of sheets in their order."""
    return b"".join([sheet.taken() for sheet in sheets])


def gzipped(sheets: Iterable[GzipSheet]) -> bytes:
    """Return sheets in their order as one gzip file (RFC 1952, of one member)."""
    pieces, crc, length = [_GZIP_HEAD], 0, 0
    for sheet in sheets:
        pieces.append(sheet.taken())
        crc = isal_zlib.crc32_combine(crc, sheet.crc, sheet.length)
        length += sheet.length
    tail = struct.pack("<II", crc, length & _ALL_ONES)
    return b"".join([*pieces, _LAST_BLOCK, tail])
