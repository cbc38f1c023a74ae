"""What was asked for before and is still under way: it is not asked for twice.

Reads only; whether two requests that are made at the same moment are the same is kept
by the table itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, select

from tunewatch.store.choice import Stretch, Subscribed
from tunewatch.store.counting import counted
from tunewatch.store.schema import stretch

_FAR = 2**63
_patterns = msgspec.json.Decoder(tuple[str, ...])


def types_text(types: Sequence[str]) -> str:
    """Return how a stretch keeps the types that are meant; nothing for all."""
    return msgspec.json.encode(sorted(set(types))).decode() if types else ""


def beyond(
    connection: Connection, asked: Sequence[Stretch], plugins: Mapping[str, Subscribed]
) -> tuple[list[Stretch], int]:
    """Return what is not under way yet, and how many events are."""
    if not asked:
        return [], 0
    waiting = _waiting(connection, {one.plugin for one in asked})
    kept: list[Stretch] = []
    for one in asked:
        left = waiting.left(one)
        if left is not None and left.first != one.first:
            left = counted(connection, plugins[one.plugin], left)
        if left is not None:
            kept.append(left)
    number = sum(one.events for one in asked) - sum(one.events for one in kept)
    return kept, number


class _Lane(NamedTuple):
    """What stretches of one lane have in common."""

    where: tuple[str, int, int]
    named: bool
    types: tuple[str, ...]


class UnderWay:
    """What is under way: letters, and spans of positions that do not overlap."""

    def __init__(self) -> None:
        self._letters: set[int] = set()
        self._spans: defaultdict[_Lane, list[tuple[int, int]]] = defaultdict(list)

    def add(self, one: Stretch) -> None:
        """Take in a stretch. Those of a lane must come in the order of `first`."""
        if one.letter:
            self._letters.add(one.letter)
        types = tuple(sorted(set(one.types)))
        spans = self._spans[_Lane(one.where, one.named, types)]
        if spans and one.first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], one.last))
        else:
            spans.append((one.first, one.last))

    def left(self, one: Stretch) -> Stretch | None:
        """Return the part of a stretch beyond those under way, None if none is."""
        if one.letter in self._letters:
            return None
        first = one.first
        while (last := self._covered(one, first)) is not None:
            first = last + 1
        if first > one.last:
            return None
        # A letter is closed by the whole of its events only.
        return one if one.letter else one._replace(first=first)

    def _covered(self, one: Stretch, position: int) -> int | None:
        """Return up to where it is under way from a position on, None if it is not."""
        types = tuple(sorted(set(one.types)))
        for named in (True,) if one.named else (True, False):
            for as_wide in {(), types}:
                spans = self._spans.get(_Lane(one.where, named, as_wide), ())
                at = bisect_right(spans, (position, _FAR)) - 1
                if at >= 0 and spans[at][1] >= position:
                    return spans[at][1]
        return None


def _waiting(connection: Connection, plugins: Iterable[str]) -> UnderWay:
    columns = stretch.c
    rows = connection.execute(
        select(
            columns.plugin,
            columns.source_id,
            columns.job_key,
            columns.first,
            columns.last,
            columns.letter,
            columns.named,
            columns.types,
        )
        .where(columns.plugin.in_(sorted(plugins)))
        .order_by(columns.first)
    )
    found = UnderWay()
    for row in rows:
        types = _patterns.decode(row.types) if row.types else ()
        found.add(Stretch(*row[:6], named=bool(row.named), types=types))
    return found
