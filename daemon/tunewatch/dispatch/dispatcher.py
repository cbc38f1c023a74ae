"""The dispatcher of one source: alone by the lease, it feeds all plugins.

It wakes on commits, on what comes back, and on waits that end. Each group it writes
takes the acknowledgements that are ready and the in-flight marks of what goes out next;
what comes back meanwhile goes into the next group. Knows no plugin and no SQL.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from tunewatch.clock import Alarm, Clock
from tunewatch.dispatch.asked import Asked
from tunewatch.dispatch.exchange import Exchange
from tunewatch.dispatch.feed import Feed, Flight
from tunewatch.dispatch.gate import Gate
from tunewatch.dispatch.groups import Groups
from tunewatch.dispatch.ledger import Ledger
from tunewatch.dispatch.news import News
from tunewatch.dispatch.observer import Observer, Unobserved
from tunewatch.dispatch.parcels import Parcels
from tunewatch.dispatch.picking import is_busy, next_due, pick
from tunewatch.dispatch.seats import Seat
from tunewatch.dispatch.sending import Sender
from tunewatch.dispatch.starting import start
from tunewatch.dispatch.subscription import hears
from tunewatch.dispatch.upkeep import Upkeep
from tunewatch.dispatch.winding_down import wind_down
from tunewatch.store.carrier import Carrier
from tunewatch.store.journal import Journal
from tunewatch.store.records import Fence, StoreFault


class Dispatcher:
    """See the module.

    `loaded` is set when the marks are there: a source's first events may be committed
    from then on, not before. `idle` is set while nothing can be done but wait.
    `is_ours` is asked before each delivery: nothing goes out for a source that another
    replica may have by now.
    """

    def __init__(
        self,
        *,
        carrier: Carrier,
        journal: Journal,
        fence: Fence,
        source: str,
        gates: Sequence[Gate],
        clock: Clock,
        parcels: Parcels | None = None,
        observer: Observer | None = None,
        jitter: Callable[[], float] = random.random,
        clock_agrees: Callable[[], bool] = lambda: True,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self.loaded = asyncio.Event()
        self.idle = asyncio.Event()
        self._journal = journal
        self._fence = fence
        self._source = source
        self._clock = clock
        self._observer = Unobserved() if observer is None else observer
        self._alarm = Alarm(clock, name=f"dispatch.alarm:{source}")
        ledger = Ledger(carrier, source=source, clock=clock, jitter=jitter)
        feeds = [self._feed(gate, jitter) for gate in gates if hears(gate, source)]
        parcels = Parcels() if parcels is None else parcels
        self._ledger = ledger
        self._feeds = feeds
        self._exchange = Exchange(
            ledger,
            feeds,
            fence=fence,
            clock=clock,
            make=lambda gate: self._feed(gate, jitter),
        )
        self._news = News(
            ledger,
            feeds,
            parcels,
            fence=fence,
            rouse=self._rouse,
            is_doubtful=partial(journal.is_doubtful, fence.source_id),
        )
        self._groups = Groups(
            ledger, journal, feeds, parcels, fence=fence, clock=clock, send=self._send
        )
        self._asked = Asked(ledger, feeds, fence=fence, source=source)
        self._upkeep = Upkeep(
            ledger, fence=fence, feeds=feeds, clock=clock, clock_agrees=clock_agrees
        )
        self._is_ours = is_ours
        self._sender: Sender
        self._tasks: asyncio.TaskGroup
        self._is_stopping = False
        self._grace = 0.0

    @property
    def paused_reason(self) -> str | None:
        """Why nothing goes out for lack of a store, None if all is well."""
        return self._ledger.paused_reason

    @property
    def is_drained(self) -> bool:
        """Whether everything that was committed so far is finished for every plugin."""
        is_owing = self._news.is_expected or self._sender.has_landed
        return (
            self.loaded.is_set()
            and not is_owing
            and self._asked.is_over
            and not any(feed.track.lanes or feed.flights for feed in self._feeds)
        )

    async def run(self, stop: asyncio.Event, *, grace: float) -> None:
        """Deliver until `stop`, then let what is out end, for `grace` seconds.

        Raises LeaseLost when the source was taken over, StoreBroken and StoreUnusable;
        StoreUnavailable only if what is owed cannot be written before the grace ends.
        """
        fault: StoreFault | None = None
        self._grace = grace
        with self._listening():
            async with asyncio.TaskGroup() as tasks:
                self._tasks, self._sender = tasks, self._sender_of(tasks)
                watch = tasks.create_task(
                    self._watch(stop), name=f"dispatch.stop:{self._source}"
                )
                try:
                    await self._load()
                    await self._serve()
                    await self._wind_down()
                except StoreFault as error:
                    # Raised below: out of the group it would come wrapped.
                    fault = error
                    self._sender.break_off()
                finally:
                    watch.cancel()
                    self._alarm.stop()
        if fault is not None:
            raise fault

    def exchange(self, gates: Sequence[Gate]) -> None:
        """Deliver through these gates from now on; who is among them goes on.

        What is out at one that is not has a moment to end, and is broken off then.
        """
        self._exchange.want([gate for gate in gates if hears(gate, self._source)])
        self._rouse()

    def allow(self, grace: float) -> None:
        """Give what is out at the end so many seconds, if it has not come yet."""
        if not self._is_stopping:
            self._grace = grace

    @property
    def is_redelivering(self) -> bool:
        """Whether anything that a person asked for is under way."""
        return any(feed.redeliveries.is_busy for feed in self._feeds)

    def expect_redeliveries(self) -> None:
        """Note that somebody may have asked for one, or cancelled it."""
        self._asked.expect()
        self._rouse()

    # The cycle

    async def _load(self) -> None:
        self._news.seen = await start(
            self._ledger, self._feeds, fence=self._fence, at=self._clock.now()
        )
        self._news.expect()
        self.loaded.set()

    async def _serve(self) -> None:
        while not self._is_stopping:
            self._alarm.set_anew()
            self.idle.clear()
            await self._exchange.step(self._sender, self._groups)
            await self._news.absorb()
            await self._asked.absorb()
            if await self._upkeep.run():
                self._news.look_up()
            await self._sender.landings()
            concluded = self._sender.drain()
            picked = pick(self._feeds, self._clock.monotonic())
            wrote = await self._groups.write(picked, concluded)
            if not wrote and not self._alarm.has_rung:
                await self._rest()

    async def _rest(self) -> None:
        if not is_busy(self._feeds):
            self.idle.set()
        now, latest = self._clock.monotonic(), self._upkeep.due
        if self._exchange.due is not None:
            latest = min(latest, self._exchange.due)
        until = next_due(self._feeds, now, latest=latest)
        with self._news.resting():
            await self._alarm.rest(until, self._tasks)

    async def _wind_down(self) -> None:
        feeds, sender, clock = self._feeds, self._sender, self._clock
        await wind_down(
            feeds,
            sender,
            self._groups,
            self._alarm,
            self._tasks,
            clock=clock,
            grace=self._grace,
        )

    def _send(self, flight: Flight) -> None:
        # Its mark was written, but we may have been frozen since.
        if self._is_stopping or not self._is_ours():
            flight.feed.put_back(flight)
        else:
            self._sender.send(flight)

    # What wakes it

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Hear of commits, and have a place at every gate."""
        unlisten = self._journal.listen(
            self._news.heard, source_id=self._fence.source_id
        )
        for feed in self._feeds:
            feed.gate.join(feed.seat)
        try:
            yield
        finally:
            unlisten()
            for feed in self._feeds:
                feed.let_go()
                feed.gate.leave(feed.seat)

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._is_stopping = True
        self._ledger.end(self._clock.monotonic() + self._grace)
        self._alarm.ring()

    def _rouse(self) -> None:
        self.idle.clear()
        self._alarm.ring()

    # Its parts

    def _sender_of(self, tasks: asyncio.TaskGroup) -> Sender:
        return Sender(
            tasks,
            source=self._source,
            clock=self._clock,
            observer=self._observer,
            wake=self._alarm.ring,
        )

    def _feed(self, gate: Gate, jitter: Callable[[], float]) -> Feed:
        return Feed(
            gate=gate,
            seat=Seat(wake=self._alarm.ring),
            source=self._source,
            clock=self._clock,
            jitter=jitter,
            observer=self._observer,
        )
