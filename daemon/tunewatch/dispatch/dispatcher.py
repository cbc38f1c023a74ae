"""The dispatcher of one source: alone by the lease, it feeds all plugins.

It wakes on commits, on what comes back, and on waits that end. Each group it writes
takes the acknowledgements that are ready and the in-flight marks of what goes out next;
what comes back meanwhile goes into the next group. Knows no plugin and no SQL.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from sqlalchemy import Connection

from tunewatch.clock import Clock
from tunewatch.dispatch.composing import compose, resolve
from tunewatch.dispatch.feed import Feed, Flight
from tunewatch.dispatch.gate import Gate, Seat
from tunewatch.dispatch.ledger import Ledger
from tunewatch.dispatch.loading import load
from tunewatch.dispatch.observer import Observer, Unobserved
from tunewatch.dispatch.parcels import Parcels
from tunewatch.dispatch.picking import alone_until, pick
from tunewatch.dispatch.sending import Sender
from tunewatch.dispatch.subscription import hears
from tunewatch.dispatch.upkeep import Upkeep
from tunewatch.store import resume, waiting
from tunewatch.store.carrier import Carrier
from tunewatch.store.journal import Journal
from tunewatch.store.lane_records import Group, Settled
from tunewatch.store.lanes import settle_group
from tunewatch.store.records import EventRef, Fence, StoreFault
from tunewatch.store.redelivery import Redelivery, find_redelivery
from tunewatch.store.requests import Request

NEWS = 1000
"""Events read at once."""


class Dispatcher:
    """See the module.

    `loaded` is set when the marks are there: a source's first events may be committed
    from then on, not before. `idle` is set while nothing can be done but wait.
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
    ) -> None:
        self.loaded = asyncio.Event()
        self.idle = asyncio.Event()
        self._journal = journal
        self._fence = fence
        self._source = source
        self._clock = clock
        self._parcels = Parcels() if parcels is None else parcels
        self._observer = Unobserved() if observer is None else observer
        self._ledger = Ledger(carrier, source=source, clock=clock, jitter=jitter)
        self._wake = asyncio.Event()
        self._feeds = [
            self._feed(gate, jitter) for gate in gates if hears(gate, source)
        ]
        self._upkeep = Upkeep(
            self._ledger,
            fence=fence,
            feeds=self._feeds,
            clock=clock,
            clock_agrees=clock_agrees,
        )
        self._sender: Sender
        self._seen = 0
        self._has_news = False
        self._is_stopping = False

    @property
    def paused_reason(self) -> str | None:
        """Why nothing goes out for lack of a store, None if all is well."""
        return self._ledger.paused_reason

    @property
    def is_drained(self) -> bool:
        """Whether everything that was committed so far is finished for every plugin."""
        is_busy = self._has_news or self._sender.has_landed
        return (
            self.loaded.is_set()
            and not is_busy
            and not any(feed.track.lanes or feed.flights for feed in self._feeds)
        )

    async def run(self, stop: asyncio.Event, *, grace: float) -> None:
        """Deliver until `stop`, then let what is out end, for `grace` seconds.

        Raises LeaseLost when the source was taken over, StoreBroken and StoreUnusable;
        StoreUnavailable only if what is owed cannot be written before the grace ends.
        """
        fault: StoreFault | None = None
        unlisten = self._journal.listen(self._heard)
        for feed in self._feeds:
            feed.gate.join(feed.seat)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._sender = Sender(
                    tasks,
                    source=self._source,
                    clock=self._clock,
                    observer=self._observer,
                    wake=self._wake.set,
                )
                watch = tasks.create_task(
                    self._watch(stop, grace), name=f"dispatch.stop:{self._source}"
                )
                try:
                    await self._load()
                    await self._serve()
                    await self._wind_down(grace)
                except StoreFault as error:
                    # Raised below: out of the group it would come wrapped.
                    fault = error
                    self._sender.break_off()
                finally:
                    watch.cancel()
        finally:
            unlisten()
            for feed in self._feeds:
                feed.gate.leave(feed.seat)
        if fault is not None:
            raise fault

    async def redeliver(self, request: Request) -> str | None:
        """Take up a person's request; return why not if it cannot be done.

        The request's row must stay: it goes when the redelivery is done. What is
        refused is to be removed by the caller. The same request twice is one.
        """
        asked = await self._ledger.read(
            partial(
                find_redelivery,
                source_id=self._fence.source_id,
                request=request.id,
                body=request.body,
            )
        )
        if isinstance(asked, str):
            return asked
        return self._take_up(asked)

    def _take_up(self, asked: Redelivery) -> str | None:
        for feed in self._feeds:
            if feed.name == asked.plugin:
                feed.redeliver(asked)
                return None
        return f"plugin {asked.plugin} is not configured for source {self._source}"

    # The cycle

    async def _serve(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            self.idle.clear()
            await self._absorb()
            if await self._upkeep.run():
                self._has_news = True
                self._wake.set()
            await self._sender.landings()
            concluded = self._sender.drain()
            picked = pick(self._feeds, self._clock.monotonic())
            group = self._compose(picked, concluded)
            if group is not None:
                await self._settle(group, picked, concluded)
            elif not self._wake.is_set():
                self._note_idle()
                await self._rest(self._next_due())

    async def _absorb(self) -> None:
        """Take in what was committed, by the store's order and not by hearsay."""
        if not self._has_news:
            return
        self._has_news = False
        read = partial(
            waiting.news, source_id=self._fence.source_id, after=self._seen, most=NEWS
        )
        news = await self._ledger.read(read)
        for one in news:
            self._seen = one.position
            for feed in self._feeds:
                if feed.subscription.wants(
                    one.type, one.derived
                ) and feed.subscription.wants_job(one.job_key, one.metadata):
                    feed.track.arrive(one.job_key, one.position)
                else:
                    feed.track.pass_by(one.position)
        if len(news) == NEWS:
            self._has_news = True
            self._wake.set()

    def _compose(
        self,
        picked: Sequence[Flight],
        concluded: Sequence[Flight],
        *,
        whole: bool = False,
    ) -> Group | None:
        return compose(
            self._feeds,
            picked,
            concluded,
            self._parcels,
            at=self._clock.now(),
            whole=whole,
        )

    async def _settle(
        self, group: Group, picked: Sequence[Flight], concluded: Sequence[Flight]
    ) -> None:
        versions = [(feed.gate, feed.gate.version) for feed in self._feeds]
        settled = await self._ledger.write(
            partial(self._transaction, group), committed=self._committed
        )
        for gate, version in versions:
            gate.saved = max(gate.saved, version)
        self._parcels.add(settled.events.values())
        for index, flight in enumerate(concluded):
            if index in settled.refused:
                flight.feed.track.put_back(flight.lane)
            else:
                flight.feed.conclude(flight)
        for flight in picked:
            if not resolve(flight, settled, self._parcels):
                continue
            if self._is_stopping:
                flight.feed.put_back(flight)
            else:
                self._sender.send(flight)

    def _transaction(
        self, group: Group, again: bool
    ) -> Callable[[Connection], Settled]:
        if again and not group.again:
            group = msgspec.structs.replace(group, again=True)
        return partial(settle_group, fence=self._fence, group=group)

    def _committed(self, settled: Settled) -> None:
        self._journal.announce(settled.derived)

    # Begin and end

    async def _load(self) -> None:
        plugins = [
            resume.Configured(feed.name, feed.gate.instance.digest)
            for feed in self._feeds
        ]
        at = self._clock.now()

        def take_up(_again: bool) -> Callable[[Connection], resume.Resumed]:
            return partial(resume.take_up, fence=self._fence, plugins=plugins, at=at)

        found = await self._ledger.write(take_up)
        source_id = self._fence.source_id
        self._seen = await self._ledger.read(
            partial(waiting.newest, source_id=source_id)
        )
        pending: dict[int, list[waiting.Pending]] = {}
        for mark in {one.mark.position for one in found.plugins.values()}:
            pending[mark] = await self._pending(mark)
        for feed in self._feeds:
            mine = found.plugins[feed.name]
            feed.gate.adopt(mine.plugin)
            waits = pending[mine.mark.position]
            load(feed, mine, waits, found.suspects, seen=self._seen)
        self._has_news = True
        self.loaded.set()

    async def _pending(self, mark: int) -> list[waiting.Pending]:
        parts: list[waiting.Pending] = []
        for after in range(mark, self._seen, waiting.PART):
            parts += await self._ledger.read(
                partial(
                    waiting.pending,
                    source_id=self._fence.source_id,
                    after=after,
                    upto=min(after + waiting.PART, self._seen),
                )
            )
        return waiting.merged(parts)

    async def _wind_down(self, grace: float) -> None:
        """Write what comes back until nothing is out, or the grace is over."""
        until = self._clock.monotonic() + grace
        while True:
            self._wake.clear()
            concluded = self._sender.drain()
            is_last = not self._sender.is_out or self._clock.monotonic() >= until
            if is_last:
                break
            if group := self._compose([], concluded):
                await self._settle(group, [], concluded)
            elif not self._wake.is_set():
                await self._rest(until)
        self._sender.break_off()
        await self._sender.farewell()
        while (
            concluded := [*concluded, *self._sender.drain()]
        ) or self._sender.has_landed:
            if group := self._compose([], concluded):
                await self._settle(group, [], concluded)
            concluded = []
        for feed in self._feeds:
            feed.flights.clear()
        if group := self._compose([], [], whole=True):
            await self._settle(group, [], [])

    async def _watch(self, stop: asyncio.Event, grace: float) -> None:
        await stop.wait()
        self._is_stopping = True
        self._ledger.until = self._clock.monotonic() + grace
        self._wake.set()

    # Waiting

    def _heard(self, refs: Sequence[EventRef]) -> None:
        mine = [ref for ref in refs if ref.source_id == self._fence.source_id]
        if mine:
            self._parcels.add(mine)
            self._has_news = True
            self.idle.clear()
            self._wake.set()

    async def _rest(self, until: float) -> None:
        """Wait for something to do, or for a time."""
        async with asyncio.TaskGroup() as nap:
            alarm = nap.create_task(
                self._ring(until), name=f"dispatch.alarm:{self._source}"
            )
            await self._wake.wait()
            alarm.cancel()

    async def _ring(self, until: float) -> None:
        await self._clock.sleep(until - self._clock.monotonic())
        self._wake.set()

    def _next_due(self) -> float:
        """Return the monotonic time when there may be something to do."""
        times = [self._upkeep.due]
        now = self._clock.monotonic()
        if (alone := alone_until(self._feeds)) is not None:
            times.append(alone)
        for feed in self._feeds:
            times.append(feed.track.next_due() or times[0])
            if feed.track.has_ready:
                at = feed.gate.next_at()
                times.append(times[0] if at is None or at <= now else at)
        return min(times)

    def _note_idle(self) -> None:
        busy = any(
            feed.flights or (feed.track.has_ready and feed.gate.is_up)
            for feed in self._feeds
        )
        if not busy:
            self.idle.set()

    def _feed(self, gate: Gate, jitter: Callable[[], float]) -> Feed:
        return Feed(
            gate=gate,
            seat=Seat(wake=self._wake.set),
            source=self._source,
            clock=self._clock,
            jitter=jitter,
            observer=self._observer,
        )
