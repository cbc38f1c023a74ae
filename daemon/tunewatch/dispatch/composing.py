"""What goes into one group, and what a written group means for the lanes.

Pure but for the feeds it is given: no store, no clock, no call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tunewatch.dispatch.feed import Feed, Flight
from tunewatch.dispatch.lane_rows import row_of
from tunewatch.dispatch.parcels import Parcel, Parcels
from tunewatch.store.heads import Reach
from tunewatch.store.lane_records import Ask, Conclusion, Group, LaneRow, Settled, Turn

LAG = 1000
"""Positions that a mark may be behind in the store while nothing is delivered."""


def compose(
    feeds: Sequence[Feed],
    picked: Sequence[Flight],
    concluded: Sequence[Flight],
    parcels: Parcels,
    *,
    at: float,
    whole: bool = False,
) -> Group | None:
    """Return the next group, None if there is nothing to write.

    What the feeds have to write counts as written from then on: a group must reach the
    store. `whole`: write every mark, as at an end.
    """
    turns = [
        _turn(feed, [flight for flight in picked if flight.feed is feed])
        for feed in feeds
        if whole
        or feed.has_landed
        or feed.burials
        or feed.track.has_news(lag=LAG)
        or any(flight.feed is feed for flight in picked)
    ]
    for flight in picked:
        if flight.position is not None:
            flight.parcel = parcels.get(flight.position)
    gates = {feed.gate.instance.name: feed.gate for feed in feeds}
    group = Group(
        at=at,
        turns=tuple(turns),
        conclusions=tuple(_conclusion(flight) for flight in concluded),
        bodies=tuple(_unread(picked)),
        revisions=tuple(
            flight.parcel.ref.job_key
            for flight in picked
            if flight.feed.gate.is_reactor and flight.parcel is not None
        ),
        plugins=tuple(
            gate.row() for gate in gates.values() if gate.version != gate.saved
        ),
        ended=tuple(over for feed in feeds for over in feed.redeliveries.take_ended()),
    )
    is_empty = not (group.turns or group.conclusions or group.plugins or group.ended)
    return None if is_empty else group


def _turn(feed: Feed, picked: Sequence[Flight]) -> Turn:
    feed.has_landed = False
    writing = feed.track.write()
    out = (flight.mark for flight in feed.flights.values() if flight.position)
    burials, feed.burials = tuple(feed.burials), []
    attempts, feed.attempts = tuple(feed.attempts), []
    return Turn(
        plugin=feed.name,
        reacts=feed.gate.is_reactor,
        mark=writing.mark,
        in_flight=tuple(mark for mark in out if mark is not None),
        asks=tuple(_ask(feed, flight) for flight in picked if not flight.position),
        rows=tuple(row_of(key, change) for key, change in writing.rows),
        gone=tuple(writing.gone),
        sweep=writing.sweep,
        burials=burials,
        attempts=attempts,
    )


def _ask(feed: Feed, flight: Flight) -> Ask:
    lane = flight.lane
    asked = feed.redeliveries.get(lane.key)
    if asked is None:
        wants = feed.subscription.wants
        return Ask(lane.key, Reach(lane.key, lane.cursor, feed.track.seen, wants))
    redelivery, wanted = asked
    last = redelivery.last
    return Ask(lane.key, Reach(redelivery.job_key, lane.cursor, last, wanted))


def _unread(picked: Iterable[Flight]) -> Iterable[int]:
    for flight in picked:
        if flight.position is not None and flight.parcel is None:
            yield flight.position


def _conclusion(flight: Flight) -> Conclusion:
    assert flight.outcome is not None  # noqa: S101 - it has landed
    assert flight.parcel is not None  # noqa: S101 - it went out
    assert flight.position is not None  # noqa: S101 - the same
    return Conclusion(
        plugin=flight.feed.name,
        job_key=flight.parcel.ref.job_key,
        row=LaneRow(flight.lane.key, flight.position),
        revision=flight.revision,
        cause=flight.parcel.ref.id,
        derived=flight.outcome.derived,
    )


def resolve(flight: Flight, settled: Settled, parcels: Parcels) -> bool:
    """Give a flight its event; false if its lane turned out to have none."""
    feed, lane = flight.feed, flight.lane
    if flight.position is None:
        found = settled.heads[feed.name, lane.key]
        feed.learn(lane, found.positions, more=found.more)
        if not found.positions:
            feed.cancel(flight)
            return False
        flight.position = found.positions[0]
    if flight.parcel is None:
        ref = settled.events.get(flight.position)
        if ref is None:
            feed.miss(flight)
            return False
        flight.parcel = parcels.get(flight.position) or Parcel(ref)
    flight.revision = settled.revisions.get(flight.parcel.ref.job_key, 0)
    return True
