"""What is to be delivered once more: stretches of one job's events, for one plugin.

A stretch is the durable promise: its row goes in the transaction that ends it. Each
has a lane of its own, whose key is minus its id, so that none holds up a job or another
stretch. Knows no plugin's subscription; how people ask is told in `redelivering`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, text

from tunewatch.store.leases import fence as check_fence
from tunewatch.store.records import Fence

_patterns = msgspec.json.Decoder(tuple[str, ...])


class Redelivery(NamedTuple):
    """Events of one job that one plugin is to get again, as a dispatcher needs it."""

    id: int  #: of the stretch
    redelivery: int  #: id of the request that it is a part of
    plugin: str
    job_key: int  #: 0: events of the source itself
    first: int  #: position
    last: int
    letter: int  #: id of the dead letter that is closed by it, 0: none
    named: bool  #: a person named it: whatever the plugin is subscribed to
    types: tuple[str, ...]  #: patterns of the types that are meant; empty: all
    metadata: bytes | None  #: the job's, as JSON, for subscriptions

    @property
    def is_single(self) -> bool:
        """Whether it is one event."""
        return self.first == self.last


class Ended(NamedTuple):
    """A stretch that is over."""

    stretch: int
    redelivery: int
    letter: int  #: closed by it, 0: none
    refused: str | None = None  #: why nothing of it was delivered


class Waiting(NamedTuple):
    """What waits to be taken up at one source."""

    found: tuple[Redelivery, ...]  #: in the order it was asked for
    strangers: tuple[str, ...]  #: plugins that were not asked about


# Ordered, so that it takes one step into the index and not all of the rows.
_AWAITED = text(
    "SELECT s.id FROM source s WHERE (SELECT t.id FROM stretch t"
    " WHERE t.source_id = s.id ORDER BY t.source_id, t.plugin, t.id LIMIT 1)"
    " IS NOT NULL"
)
_NEXT_PLUGIN = text(
    "SELECT plugin FROM stretch WHERE source_id = :source AND plugin > :after"
    " ORDER BY plugin, id LIMIT 1"
)
_NEXT = text(
    "SELECT s.id, s.redelivery, s.plugin, s.job_key, s.first, s.last, s.letter,"
    " s.named, s.types, j.metadata"
    " FROM stretch s LEFT JOIN job j ON j.key = s.job_key"
    " WHERE s.source_id = :source AND s.plugin = :plugin ORDER BY s.id LIMIT :most"
)
_REFUSE = text(
    "UPDATE redelivery SET refused = refused + 1, reason = :reason WHERE id ="
    " (SELECT redelivery FROM stretch WHERE id = :stretch)"
)
_OVER = text("DELETE FROM stretch WHERE id = :stretch")
_CLOSE_LETTER = text(
    "UPDATE dead_letter SET closed_at = :at WHERE id = :letter AND closed_at IS NULL"
)
_REFUSE_ALL = text(
    "UPDATE redelivery SET reason = :reason, refused = refused + ("
    "SELECT count(*) FROM stretch s WHERE s.redelivery = redelivery.id"
    " AND s.source_id = :source AND s.plugin = :plugin) WHERE id IN ("
    "SELECT redelivery FROM stretch WHERE source_id = :source AND plugin = :plugin)"
)
_ALL_OVER = text("DELETE FROM stretch WHERE source_id = :source AND plugin = :plugin")

_LANES = text(
    "DELETE FROM lane WHERE plugin = :plugin AND source_id = :source AND job_key < 0"
)

_CANCEL_LANES = text(
    "DELETE FROM lane WHERE job_key < 0 AND job_key IN"
    " (SELECT -id FROM stretch WHERE redelivery = :redelivery)"
)
_CANCEL = text(
    "UPDATE redelivery SET reason = :reason, refused = refused +"
    " (SELECT count(*) FROM stretch s WHERE s.redelivery = redelivery.id)"
    " WHERE id = :redelivery"
    " AND EXISTS (SELECT 1 FROM stretch s WHERE s.redelivery = redelivery.id)"
)
_TAKE_BACK = text("DELETE FROM stretch WHERE redelivery = :redelivery")


def awaited_sources(connection: Connection) -> list[int]:
    """Return the sources whose owners have something to deliver again."""
    return list(connection.execute(_AWAITED).scalars())


def next_stretches(
    connection: Connection, source_id: int, most: Mapping[str, int]
) -> Waiting:
    """Return the oldest stretches of each plugin, so many at most.

    Those that are under way are among them. Nothing is taken: see `Ended`.
    """
    plugins = set(_plugins(connection, source_id))
    found: list[Redelivery] = []
    for plugin in sorted(plugins & most.keys()):
        values = {"source": source_id, "plugin": plugin, "most": most[plugin]}
        for row in connection.execute(_NEXT, values):
            *fields, named, types, metadata = row
            patterns = _patterns.decode(types) if types else ()
            found.append(Redelivery._make([*fields, bool(named), patterns, metadata]))
    return Waiting(tuple(found), tuple(sorted(plugins - most.keys())))


def _plugins(connection: Connection, source_id: int) -> Iterator[str]:
    """Yield the plugins that something waits for, by name: a step each."""
    values = {"source": source_id, "after": ""}
    while (name := connection.scalar(_NEXT_PLUGIN, values)) is not None:
        yield name
        values["after"] = name


def end_stretches(connection: Connection, ended: Sequence[Ended], *, at: float) -> None:
    """Remove stretches that are over, and close their letters. May be run again."""
    refused = [
        {"stretch": one.stretch, "reason": one.refused}
        for one in ended
        if one.refused is not None
    ]
    if refused:
        connection.execute(_REFUSE, refused)
    if ended:
        connection.execute(_OVER, [{"stretch": one.stretch} for one in ended])
    closed = [{"letter": one.letter, "at": at} for one in ended if one.letter]
    if closed:
        connection.execute(_CLOSE_LETTER, closed)


def refuse_all(
    connection: Connection, fence: Fence, plugin: str, *, reason: str
) -> None:
    """Refuse whatever is to be delivered to a plugin of this source.

    Raises LeaseLost.
    """
    check_fence(connection, fence)
    values = {"source": fence.source_id, "plugin": plugin}
    connection.execute(_REFUSE_ALL, {**values, "reason": reason})
    connection.execute(_ALL_OVER, values)
    connection.execute(_LANES, values)


def cancel(connection: Connection, redelivery: int, *, reason: str) -> int:
    """Take back whatever is left of a redelivery; return how many stretches."""
    values = {"redelivery": redelivery}
    connection.execute(_CANCEL_LANES, values)
    connection.execute(_CANCEL, {**values, "reason": reason})
    return connection.execute(_TAKE_BACK, values).rowcount
