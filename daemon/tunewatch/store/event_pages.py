"""Reading events page by page, with what is not wanted left out.

A page costs a bounded amount of work and memory; where it stopped is told. Plain
functions over a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, select

from tunewatch.store.schema import event
from tunewatch.store.told import STORED, Spot, StoredEvent, positions, source_id_of

MOST_EXAMINED = 20_000
"""Events that one page looks at, at most."""
MOST_BYTES = 8 * 1024 * 1024
"""Bodies of one page, at most, and one more."""
CLOCKS = 300.0
"""s that commits' clocks may be apart, for a moment to be looked up by."""
_CHUNK = 2_000
_BODIES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsWanted:
    """What is sought; None leaves all in."""

    source: str | None = None
    jobs: Sequence[int] | None = None  #: keys
    is_type: Callable[[str], bool] | None = None
    since: float | None = None  #: unix seconds of the commit
    before: float | None = None


class EventPage(NamedTuple):
    """Some events of the log."""

    events: list[StoredEvent]
    last: Spot | None  #: up to where was looked; None if nothing was there
    has_more: bool


def page_of_events(
    connection: Connection,
    wanted: EventsWanted,
    *,
    limit: int,
    after: int | None,
    newest_first: bool,
) -> EventPage:
    """See `reads.Reader.told`."""
    if wanted.since is not None and not newest_first:
        floor = _before(connection, wanted.since - CLOCKS)
        after = floor if after is None else max(floor, after)
    reading = _Reading(connection, wanted, limit, newest_first=newest_first)
    has_more = reading.read(after)
    events, cut = _bodies(connection, reading.found)
    last = Spot(*events[-1][:2]) if cut else reading.last
    return EventPage(events, last, has_more or cut)


class _Reading:
    """The search for one page, without bodies."""

    def __init__(
        self,
        connection: Connection,
        wanted: EventsWanted,
        limit: int,
        *,
        newest_first: bool,
    ) -> None:
        self.found: list[int] = []
        self.last: Spot | None = None
        self._connection = connection
        self._wanted = wanted
        self._limit = limit
        self._newest_first = newest_first
        self._candidates = self._all()

    def read(self, after: int | None) -> bool:
        """Read on from a position; return whether there is more behind."""
        examined, place = 0, after
        while examined < MOST_EXAMINED:
            chunk = self._connection.execute(self._beyond(place)).all()
            for row in chunk:
                if self._is_over(row):
                    return False
                if self._fits(row):
                    if len(self.found) == self._limit:
                        return True
                    self.found.append(row.position)
                self.last = Spot(row.position, row.id)
            if len(chunk) < _CHUNK:
                return False
            examined += len(chunk)
            place = chunk[-1].position
        return True

    def _all(self) -> Select[Any]:
        wanted, at = self._wanted, event.c.position
        statement = select(at, event.c.id, event.c.type, event.c.observed_at)
        if wanted.source is not None:
            source_id = source_id_of(self._connection, wanted.source)
            statement = statement.where(event.c.source_id == source_id)
        if wanted.jobs is not None:
            statement = statement.where(event.c.job_key.in_(wanted.jobs))
        ordered = statement.order_by(at.desc() if self._newest_first else at)
        return ordered.limit(_CHUNK)

    def _beyond(self, place: int | None) -> Select[Any]:
        if place is None:
            return self._candidates
        at = event.c.position
        return self._candidates.where(at < place if self._newest_first else at > place)

    def _fits(self, row: Row[Any]) -> bool:
        wanted = self._wanted
        return (
            (wanted.is_type is None or wanted.is_type(row.type))
            and (wanted.since is None or row.observed_at >= wanted.since)
            and (wanted.before is None or row.observed_at < wanted.before)
        )

    def _is_over(self, row: Row[Any]) -> bool:
        """Whether nothing that is further away can be within the times wanted."""
        wanted = self._wanted
        if self._newest_first:
            since = wanted.since
            return since is not None and row.observed_at < since - CLOCKS
        before = wanted.before
        return before is not None and row.observed_at >= before + CLOCKS


def _bodies(
    connection: Connection, found: Sequence[int]
) -> tuple[list[StoredEvent], bool]:
    """Return the events at these positions, in this order, and whether it is cut."""
    loaded: list[StoredEvent] = []
    size = 0
    for start in range(0, len(found), _BODIES):
        if size > MOST_BYTES:
            return loaded, True
        part = found[start : start + _BODIES]
        rows = connection.execute(
            select(*STORED).where(event.c.position.in_(part))
        ).all()
        at = {row.position: StoredEvent(*row) for row in rows}
        loaded += [at[one] for one in part]
        size += sum(len(one.body) for one in at.values())
    return loaded, False


def _before(connection: Connection, moment: float) -> int:
    """Return a position below which everything was committed before a moment.

    There is no index by time: commits are in order of time, so it is halved for.
    """
    low, high = positions(connection)
    low -= 1
    while low < high:
        middle = (low + high + 1) // 2
        following = select(event.c.observed_at).where(event.c.position >= middle)
        at = connection.scalar(following.order_by(event.c.position).limit(1))
        if at is not None and at < moment:
            low = middle
        else:
            high = middle - 1
    return low
