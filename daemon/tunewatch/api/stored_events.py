"""The store as who answers: questions about events.

Reads only. Every question costs a bounded amount of work.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

from tunewatch.api import cursors
from tunewatch.api.answers import EventList
from tunewatch.api.asked import EventsAsked, EventsOfJobAsked
from tunewatch.api.faults import Mistaken, NotThere
from tunewatch.api.stored_jobs import StoredJobs
from tunewatch.events import matcher
from tunewatch.store.event_pages import EventsWanted
from tunewatch.store.told import Spot


class StoredEvents(StoredJobs):
    """The part of `Reading` that is about events, beside that about jobs."""

    async def event(self, event_id: str) -> bytes:
        """See `Reading.event`."""
        found = await self.reads.event(event_id)
        if found is None:
            raise NotThere(f"there is no event {event_id}, or it is not kept any more")
        return found.body

    async def events(self, asked: EventsAsked) -> EventList:
        """See `Reading.events`."""
        keys = None
        if asked.job is not None:
            found = await self.reads.find(asked.job, source=asked.source)
            keys = [one.key for one in found]
        return await self._page(asked, keys)

    async def job_events(self, job_id: str, asked: EventsOfJobAsked) -> EventList:
        """See `Reading.job_events`."""
        found = await self.found(job_id, asked.source)
        return await self._page(asked, [found.key])

    async def _page(self, asked: EventsOfJobAsked, keys: list[int] | None) -> EventList:
        wanted = EventsWanted(
            source=asked.source if keys is None else None,
            jobs=keys,
            is_type=wanted_types(asked.type),
            since=asked.since,
            before=asked.before,
        )
        newest_first = asked.order == "desc"
        after = None if asked.after is None else await self.position(asked.after)
        page = await self.reads.told(
            wanted, limit=asked.limit, after=after, newest_first=newest_first
        )
        following = asked.after if page.last is None else cursors.of_spot(page.last)
        return EventList(
            data=tuple(Raw(one.body) for one in page.events),
            has_more=page.has_more,
            next=None if newest_first and not page.has_more else following,
        )

    async def position(self, after: str) -> int:
        """Return the position that a cursor or an event's id names. Raises NotThere."""
        if after == "0":
            return 0
        spot = cursors.to_spot(after)
        if spot is None:
            found = await self.reads.event(after)
            spot = None if found is None else Spot(found.position, found.id)
        elif not await self.reads.is_spot(spot):
            spot = None
        if spot is None:
            raise NotThere(
                "wanted an event that is kept; found one that is unknown, or older "
                "than the retention: begin without it",
                parameter="after",
            )
        return spot.position


def wanted_types(patterns: tuple[str, ...]) -> Callable[[str], bool] | None:
    """Return the question whether a type is wanted; None if all are.

    Raises Mistaken for a group that does not exist.
    """
    if not patterns:
        return None
    try:
        return matcher(patterns)
    except ValueError as error:
        raise Mistaken({"type": str(error)}) from None
