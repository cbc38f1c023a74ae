"""A store's file that a disk has harmed. Knows SQLite's pages and no table."""

from __future__ import annotations

from pathlib import Path

PAGE = 4096
"""Bytes of a page, as SQLite makes them by default."""


def zero(path: Path, pages: int, *, within: int | None = None) -> None:
    """Put zeros in the place of some pages in the middle of the first bytes, or all."""
    size = path.stat().st_size if within is None else within
    with path.open("r+b") as file:
        file.seek(size // 2 // PAGE * PAGE)
        file.write(bytes(pages * PAGE))
