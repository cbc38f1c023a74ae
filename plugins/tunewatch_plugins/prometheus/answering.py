"""One answer's text: which families are in it, in which order, in which format.

Knows nothing of jobs and how they are read.
"""

from __future__ import annotations

from collections.abc import Callable

from tunewatch_plugins.prometheus.exposition import Family, encoded
from tunewatch_plugins.prometheus.negotiation import Wanted
from tunewatch_plugins.prometheus.sheets import (
    GzipSheet,
    PlainSheet,
    Sheet,
    gzipped,
    plain,
)


class Body:
    """The text of one answer: long families on sheets of their own, then the rest."""

    def __init__(self, asked: Wanted, is_taken: Callable[[str], bool]) -> None:
        """Begin; `is_taken` tells which names of families must not be used."""
        self._asked = asked
        self._is_taken = is_taken
        self._plain: list[PlainSheet] = []
        self._gzip: list[GzipSheet] = []
        self._rest: list[bytes] = []

    def sheet(self, family: Family) -> Sheet:
        """Return a new sheet behind the others; an empty one leaves no trace."""
        if self._is_taken(family.name):
            return _Nowhere()
        return _Headed(self._new(), self._head(family))

    def add(self, family: Family, lines: str) -> None:
        """Add a family as a whole, behind all sheets; without lines it is not there."""
        if lines and not self._is_taken(family.name):
            self._rest += (self._head(family), encoded(lines))

    def whole(self, end: bytes) -> bytes:
        """Return the text, followed by its end; the body is used up then."""
        rest = self._new()
        for piece in (*self._rest, end):
            rest.write(piece)
        return gzipped(self._gzip) if self._asked.is_gzip else plain(self._plain)

    def _head(self, family: Family) -> bytes:
        return family.head(openmetrics=self._asked.is_openmetrics)

    def _new(self) -> Sheet:
        if self._asked.is_gzip:
            self._gzip.append(GzipSheet())
            return self._gzip[-1]
        self._plain.append(PlainSheet())
        return self._plain[-1]


class _Headed:
    """A sheet that begins with its head, if it ever begins."""

    def __init__(self, sheet: Sheet, head: bytes) -> None:
        self._sheet = sheet
        self._head = head

    def write(self, text: bytes) -> None:
        if self._head:
            self._sheet.write(self._head)
            self._head = b""
        self._sheet.write(text)


class _Nowhere:
    """A sheet that nobody reads."""

    def write(self, text: bytes) -> None:
        pass
