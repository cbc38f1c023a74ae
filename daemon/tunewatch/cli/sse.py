"""Server-sent events, read from pieces of bytes as they come.

Knows the format alone: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

LONGEST = 16 * 1024 * 1024
"""Bytes of one line, at most: nobody sends such events."""


class Block(NamedTuple):
    """What stands between two empty lines."""

    id: str | None
    event: str
    data: str


async def blocks(pieces: AsyncIterator[bytes]) -> AsyncIterator[Block]:
    """Yield whole blocks; what is cut off at the end is left out.

    Raises ValueError for a line without end.
    """
    fields: dict[str, list[str]] = {}
    async for line in _lines(pieces):
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        elif fields:
            ids, kinds = fields.get("id"), fields.get("event")
            yield Block(
                id=ids[-1] if ids else None,
                event=kinds[-1] if kinds else "message",
                data="\n".join(fields.get("data", [])),
            )
            fields = {}


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    left = b""
    async for piece in pieces:
        *whole, left = (left + piece).split(b"\n")
        if len(left) > LONGEST:
            raise ValueError("a line without end")
        for line in whole:
            yield line.removesuffix(b"\r").decode(errors="replace")
