"""Deliveries while they are out: one named task each, and what they came to.

Tells the gate at once what came back; the lanes are settled by the next group. Knows
no store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from tunewatch import bulkheads
from tunewatch.bulkheads import bulkhead
from tunewatch.clock import Clock
from tunewatch.dispatch.attempts import note
from tunewatch.dispatch.calls import BROKEN_OFF, Outcome, Verdict, call
from tunewatch.dispatch.feed import Feed, Flight
from tunewatch.dispatch.observer import Observer
from tunewatch.plugin import Delivery, Reactor, Sink

_log = structlog.get_logger(__name__)

FAREWELL = 1.0
"""s that calls are given to end after they were cancelled, before the last write."""


class Sender:
    """See the module. `tasks` owns the calls; `wake` is called when one comes back."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        *,
        source: str,
        clock: Clock,
        observer: Observer,
        wake: Callable[[], None],
    ) -> None:
        self._tasks = tasks
        self._source = source
        self._clock = clock
        self._observer = observer
        self._wake = wake
        self._calls: dict[asyncio.Task[None], Flight] = {}
        self._landed: list[Flight] = []
        self._changed = asyncio.Event()

    @property
    def is_out(self) -> bool:
        """Whether any call has not ended."""
        return bool(self._calls)

    @property
    def has_landed(self) -> bool:
        """Whether anything came back that was not settled yet."""
        return bool(self._landed)

    def send(self, flight: Flight) -> None:
        """Begin a delivery, unless its plugin was closed a moment ago."""
        feed, parcel = flight.feed, flight.parcel
        assert parcel is not None  # noqa: S101 - it was resolved
        target = feed.gate.target
        if target is None:
            feed.put_back(flight)
            return
        if parcel.ref.derived and feed.gate.is_reactor:
            feed.skip(flight)
            return
        flight.lane.attempts += 1
        try:
            event = parcel.event
        except msgspec.ValidationError as error:
            reason = f"the event cannot be read: {error}"
            self._land(flight, Outcome(Verdict.REJECTED, reason))
            return
        delivery = Delivery(
            event=event,
            body=parcel.ref.body,
            attempt=flight.lane.attempts,
            redelivered=flight.lane.key < 0,
        )
        task = self._tasks.create_task(
            self._deliver(flight, target, delivery),
            name=f"deliver:{feed.name}:{event.id}",
        )
        self._calls[task] = flight
        task.add_done_callback(self._ended)

    async def landings(self) -> None:
        """Let land what is just coming back: a turn of the loop more while any does.

        A group costs nearly as much for one as for many, but while it is written others
        should be out: with half of them back it is time. Never a timer: when a turn
        brings nothing, nothing is waited for.
        """
        landed = 0
        while landed < len(self._landed) < len(self._calls):
            landed = len(self._landed)
            await asyncio.sleep(0)

    def drain(self) -> list[Flight]:
        """Settle what has come back; return what the store has to judge."""
        landed, self._landed = self._landed, []
        concluded: list[Flight] = []
        for flight in landed:
            if flight.outcome is not None and flight.outcome.derived:
                concluded.append(flight)
            else:
                flight.feed.settle(flight)
        return concluded

    def has_landed_of(self, feed: Feed) -> bool:
        """Whether anything of a feed came back that was not settled yet."""
        return any(flight.feed is feed for flight in self._landed)

    def break_off(self, feed: Feed | None = None) -> None:
        """Cancel every call, or those of one feed."""
        for task, flight in self._calls.items():
            if feed is None or flight.feed is feed:
                task.cancel()

    async def farewell(self) -> None:
        """Wait a moment for cancelled calls: most do end."""
        try:
            async with asyncio.timeout(FAREWELL):
                while self._calls:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            _log.warning(
                "dispatch.calls_linger", source=self._source, calls=len(self._calls)
            )

    async def _deliver(
        self, flight: Flight, target: Sink | Reactor, delivery: Delivery
    ) -> None:
        flight.began = self._clock.monotonic()
        try:
            with bulkhead(bulkheads.plugin(flight.feed.name)):
                limit = flight.feed.gate.deadline
                outcome = await call(target, delivery, deadline=limit)
        except asyncio.CancelledError:
            note(flight, BROKEN_OFF, self._clock)
            flight.feed.cancel(flight)
            raise
        self._land(flight, outcome)

    def _land(self, flight: Flight, outcome: Outcome) -> None:
        feed = flight.feed
        self._observer.attempted(
            feed.name,
            source=self._source,
            attempt=flight.lane.attempts,
            outcome=outcome.verdict.value,
            seconds=note(flight, outcome, self._clock),
        )
        feed.land(flight, outcome)
        self._landed.append(flight)
        self._wake()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.pop(task, None)
        self._changed.set()
        if not self._calls or task.cancelled():
            self._wake()  # a stop waits for the last one, an exchange for its own
