"""What was asked for before and is still under way: it is not asked for twice.

Reads only; whether two requests that are made at the same moment are the same is kept
by the table itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, select

from tunewatch.store.choice import Stretch, Subscribed
from tunewatch.store.counting import counted
from tunewatch.store.schema import stretch

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
        left = _left(one, waiting.get(one.where, ()))
        if left is not None and left.first != one.first:
            left = counted(connection, plugins[one.plugin], left)
        if left is not None:
            kept.append(left)
    number = sum(one.events for one in asked) - sum(one.events for one in kept)
    return kept, number


def _waiting(
    connection: Connection, plugins: Iterable[str]
) -> dict[tuple[str, int, int], list[Stretch]]:
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
        .order_by(columns.id)
    )
    found: defaultdict[tuple[str, int, int], list[Stretch]] = defaultdict(list)
    for row in rows:
        types = _patterns.decode(row.types) if row.types else ()
        one = Stretch(*row[:6], named=bool(row.named), types=types)
        found[one.where].append(one)
    return found


def _left(one: Stretch, waiting: Iterable[Stretch]) -> Stretch | None:
    """Return the part of a stretch that lies beyond those under way, None if none."""
    for other in sorted(waiting, key=lambda each: each.first):
        if one.letter and one.letter == other.letter:
            return None
        if not _covers(other, one) or not other.first <= one.first <= other.last:
            continue
        if one.last <= other.last:
            return None
        if not one.letter:
            one = one._replace(first=other.last + 1)
    return one


def _covers(other: Stretch, one: Stretch) -> bool:
    """Whether all that is meant by the one is meant by the other, where they meet."""
    is_as_wide = other.named or not one.named
    return is_as_wide and (not other.types or set(other.types) == set(one.types))
