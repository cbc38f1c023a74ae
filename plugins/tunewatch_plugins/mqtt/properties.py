"""The properties of a message as MQTT 5 writes them.

The client library's own take longer than publishing: they look up every name of the
specification for each that is set. Knows the three properties that are sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

_FORMAT, _TYPE, _PAIR = b"\x01", b"\x03", b"\x26"
"""Payload format indicator, content type, user property: their identifiers."""
_IS_TEXT = b"\x01"
_LONGEST = 65_535  #: bytes of a text


class Written:
    """Properties that are written already; `pack` is what the client library asks."""

    __slots__ = ("_packed",)

    def __init__(
        self, content_type: str | None, pairs: Iterable[tuple[str, str]]
    ) -> None:
        told = b"" if content_type is None else _said(content_type)
        told += b"".join([_PAIR + _text(key) + _text(value) for key, value in pairs])
        self._packed = _length(len(told)) + told

    def pack(self) -> bytes:
        """Return them as they go over the wire, after their length."""
        return self._packed


@lru_cache(maxsize=16)
def _said(content_type: str) -> bytes:
    return _FORMAT + _IS_TEXT + _TYPE + _text(content_type)


def _text(text: str) -> bytes:
    raw = text.encode(errors="replace")[:_LONGEST]
    return len(raw).to_bytes(2) + raw


def _length(number: int) -> bytes:
    """Return a number in sevens of bits, the lowest first."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
