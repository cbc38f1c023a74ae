"""One plugin at one source: its gate, its lanes, and what becomes of each delivery.

Judges subscriptions and failures; says what is to be written and what goes out. Does no
I/O: the dispatcher writes and calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from tunewatch.clock import Clock
from tunewatch.dispatch.calls import Outcome, Verdict
from tunewatch.dispatch.gate import Gate, Permit
from tunewatch.dispatch.lane import Lane, Ordeal
from tunewatch.dispatch.observer import Observer
from tunewatch.dispatch.parcels import Parcel
from tunewatch.dispatch.patience import (
    ASKED_FOR,
    ASKED_FOR_OF_ITS_OWN,
    OF_ITS_OWN,
    OF_THE_EVENT,
    Schedule,
)
from tunewatch.dispatch.redeliveries import DEAF, UNWANTED, Redeliveries
from tunewatch.dispatch.seats import Seat
from tunewatch.dispatch.subscription import Subscription
from tunewatch.dispatch.track import Track
from tunewatch.store.lane_records import Attempt, Burial
from tunewatch.store.redelivery import Redelivery

_log = structlog.get_logger(__name__)

_OF_THE_RECEIVER = (Verdict.RECEIVER, Verdict.TIMEOUT, Verdict.DEFECT)


@dataclass(slots=True, eq=False)
class Flight:
    """One delivery that is on its way."""

    feed: Feed
    lane: Lane
    permit: Permit
    position: int | None  #: None: to be asked for
    parcel: Parcel | None = None
    revision: int = 0  #: of the job, for reactors
    began: float = 0.0  #: monotonic s
    outcome: Outcome | None = None
    is_own: bool = False  #: others were accepted since this event failed last

    @property
    def is_asked(self) -> bool:
        """Whether it is a redelivery."""
        return self.lane.key < 0

    @property
    def mark(self) -> int | None:
        """How it is noted as in flight: a redelivery by its lane."""
        return self.lane.key if self.is_asked else self.position


@dataclass(slots=True, eq=False, kw_only=True)
class Feed:
    """See the module."""

    gate: Gate
    seat: Seat
    source: str
    clock: Clock
    jitter: Callable[[], float]
    observer: Observer
    track: Track = field(default_factory=lambda: Track(0, 0))
    flights: dict[int, Flight] = field(default_factory=dict)  #: by lane
    burials: list[Burial] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)  #: not written yet
    has_landed: bool = False  #: something came back since the last writing
    is_burying: bool = False
    is_leaving: bool = False  #: nothing more goes out
    defect: str | None = None  #: the last one that was logged
    redeliveries: Redeliveries = field(init=False)
    subscription: Subscription = field(init=False)

    def __post_init__(self) -> None:
        """Compile the subscription. Raises ValueError for an unknown group."""
        room = 2 * self.gate.instance.concurrency
        self.redeliveries = Redeliveries(self.name, self.clock, room=room)
        self.subscription = Subscription(self.gate)
        self.seat.waiting_lanes = self._waiting_lanes

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.gate.instance.name

    # What goes out

    def pick(self, now: float) -> Flight | None:
        """Return the next delivery that may go out now; it is out from then on."""
        track = self.track
        if self.is_leaving or not self.gate.is_passable or not track.has_ready:
            self.gate.content(self.seat)
            return None
        permit = self.gate.admit(self.seat)
        if permit is None:
            return None
        lane = track.take()
        if lane is None:
            self.gate.withdraw(permit)
            return None
        position = lane.upcoming[0] if lane.upcoming else None
        flight = Flight(self, lane, permit, position, began=now)
        self.flights[lane.key] = flight
        return flight

    def cancel(self, flight: Flight) -> None:
        """Note that a delivery did not go out, or was broken off by us."""
        self.flights.pop(flight.lane.key, None)
        self.gate.withdraw(flight.permit)
        self.has_landed = True

    def let_go(self) -> None:
        """At an end: give back the room of what was picked and never went out.

        The gate is that of all sources, and outlives this one's term.
        """
        for flight in list(self.flights.values()):
            self.cancel(flight)

    def put_back(self, flight: Flight) -> None:
        """Return a delivery that cannot go out just now."""
        self.cancel(flight)
        self.track.put_back(flight.lane)

    def skip(self, flight: Flight) -> None:
        """Pass over an event that turned out not to be for this plugin."""
        self.cancel(flight)
        self._finish(flight.lane)

    def miss(self, flight: Flight) -> None:
        """Pass over an event that is not in the journal any more, saying so."""
        _log.error("delivery.event_missing", plugin=self.name, position=flight.position)
        self.skip(flight)

    def learn(self, lane: Lane, positions: list[int], *, more: bool) -> None:
        """Take in what comes next in a lane; a redelivery without it is done."""
        self.track.learn(lane, positions, more=more)
        if not positions and lane.key < 0:
            self.redeliveries.end(lane)

    # What becomes of it

    def land(self, flight: Flight, outcome: Outcome) -> None:
        """Tell the gate what came of a delivery, at once: others may wait for it."""
        lane, gate = flight.lane, self.gate
        flight.outcome = outcome
        self._tell_defect(outcome)
        self.flights.pop(lane.key, None)
        self.has_landed = True
        self.track.clear_suspect(lane.key)
        if outcome.verdict is Verdict.ACCEPTED:
            gate.accepted(flight.permit)
        elif outcome.verdict in _OF_THE_RECEIVER:
            failed_before = lane.failed_call
            flight.is_own = (
                failed_before is not None and gate.newest_accepted > failed_before
            )
            lane.failed_call = gate.calls
            if flight.is_own and not flight.permit.is_probe:
                gate.withdraw(flight.permit)
            else:
                gate.failed(flight.permit, outcome.reason, outcome.after)
        elif outcome.verdict is Verdict.PAUSED:
            gate.withdraw(flight.permit)
            gate.pause(outcome.reason)
        else:
            gate.answered(flight.permit)

    def settle(self, flight: Flight) -> None:
        """Move the lane on, or let it wait; conclusions are settled by the store."""
        outcome = flight.outcome
        assert outcome is not None  # noqa: S101 - it has landed
        match outcome.verdict:
            case Verdict.ACCEPTED:
                self.acknowledge(flight)
            case Verdict.REJECTED:
                self._bury(flight, outcome.reason, "rejected")
            case Verdict.EVENT:
                usual, again = OF_THE_EVENT, ASKED_FOR
                self._suffer(flight, outcome, again if flight.is_asked else usual)
            case Verdict.RECEIVER | Verdict.TIMEOUT | Verdict.DEFECT if flight.is_own:
                usual, again = OF_ITS_OWN, ASKED_FOR_OF_ITS_OWN
                self._suffer(flight, outcome, again if flight.is_asked else usual)
            case _:
                self.track.requeue(flight.lane)

    def conclude(self, flight: Flight) -> None:
        """Note that what a reactor concluded is in the journal, with the cursor."""
        assert flight.position is not None  # noqa: S101 - it went out
        self.track.rows[flight.lane.key] = flight.position
        self.acknowledge(flight)

    def acknowledge(self, flight: Flight) -> None:
        """Note that the receiver has the event for good."""
        self.is_burying = False
        self.defect = None
        if flight.parcel is not None:
            # A sequence is the commit's time in ms, or a little later.
            committed = flight.parcel.event.common.sequence / 1000
            dwell = max(0.0, self.clock.now() - committed)
            self.observer.delivered(self.name, source=self.source, dwell=dwell)
        self._finish(flight.lane)

    def give_up(self, lane: Lane, first: int, last: int, reason: str, why: str) -> None:
        """Make a dead letter of a part of a lane; the lane goes on behind it."""
        self.burials.append(Burial(lane.key, first, last, lane.attempts, reason))
        self.observer.buried(self.name, source=self.source, reason=why)
        if not self.is_burying:
            self.is_burying = True
            _log.warning("delivery.buried", plugin=self.name, reason=reason)
        self._finish(lane, last)

    def redeliver(self, found: list[Redelivery]) -> None:
        """Take up the oldest redeliveries that wait, as far as there is room.

        Those that are under way are among them, unless they were cancelled.
        """
        self.redeliveries.withdraw(found, self.track)
        for asked in self.redeliveries.offer(found):
            refused = self._refused(asked)
            if refused is None:
                wanted = self.subscription.wanted_again(asked.named, asked.types)
                self.redeliveries.take_up(asked, wanted, self.track)
            else:
                self.redeliveries.refuse(asked, refused)

    # Within

    def _refused(self, asked: Redelivery) -> str | None:
        """Return why a redelivery is not taken up, None if it is."""
        if self.gate.is_deaf:
            return DEAF
        if asked.named or self.subscription.wants_job(asked.job_key, asked.metadata):
            return None
        return UNWANTED

    def _tell_defect(self, outcome: Outcome) -> None:
        """Log what nobody expected, once until something is accepted again."""
        if outcome.error is None or outcome.reason == self.defect:
            return
        self.defect = outcome.reason
        _log.error(
            "plugin.defect",
            plugin=self.name,
            reason=outcome.reason,
            exc_info=outcome.error,
        )

    def _waiting_lanes(self) -> int:
        return len(self.track.lanes) - len(self.flights)

    def _finish(self, lane: Lane, position: int | None = None) -> None:
        self.track.finish(lane, position)
        if lane.key < 0 and lane.key not in self.track.lanes:
            self.redeliveries.end(lane)

    def _bury(self, flight: Flight, reason: str, why: str) -> None:
        lane, position = flight.lane, flight.position
        assert position is not None  # noqa: S101 - it went out
        if self.redeliveries.leave_open(lane.key):
            self._finish(lane)
            return
        self.give_up(lane, position, position, reason, why)

    def _suffer(self, flight: Flight, outcome: Outcome, schedule: Schedule) -> None:
        lane, now = flight.lane, self.clock.now()
        before = lane.ordeal or Ordeal()
        tries = before.tries + 1
        wait = schedule.wait(tries, outcome.after, self.jitter())
        if wait is None:
            lane.attempts = tries
            often = "1 try" if tries == 1 else f"{tries} tries"
            reason = f"gave up after {often}: {outcome.reason}"
            self._bury(flight, reason, "tries")
            return
        ordeal = Ordeal(
            tries=tries,
            first_failure_at=before.first_failure_at or now,
            wait=wait,
            wait_until=now + wait,
            crashes=before.crashes,
            last_error=outcome.reason,
        )
        self.track.suffer(lane, ordeal, until=self.clock.monotonic() + wait)
