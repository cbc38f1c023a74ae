"""A model of store and dispatch: what was committed, who was given what, what it owes.

The store and the dispatcher are real; the sinks answer as told and keep the proof. The
stateful test says what happens, this says what must always be true of it.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from support.dispatching import MESSAGE, Desk, HandClock, desk, gate
from tunewatch.dispatch import Dispatcher, Gate
from tunewatch.events import decode
from tunewatch.plugin import Delivery, Reject, Retry
from tunewatch.store.audit import Deed
from tunewatch.store.choice import Selection
from tunewatch.store.records import EventRef

Mood = Literal["accepts", "is down", "blames", "rejects", "raises", "holds"]
STILL = 0.03
"""s without any change after which calls that are held are all that goes on."""
DRAINED = 400
"""Rounds of ten minutes each within which everything must be told."""


@dataclass
class MoodySink:
    """A sink that answers by its mood and keeps everything it was given."""

    name: str
    starts_after: int  #: position: nothing up to there is owed to it
    mood: Mood = "accepts"
    given: list[Delivery] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    moves: int = 0  #: grows with everything that happens here
    held: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, delivery: Delivery) -> None:
        """Answer by the mood at the arrival."""
        self.given.append(delivery)
        self.moves += 1
        match self.mood:
            case "is down":
                raise Retry("away")
            case "blames":
                raise Retry("what is this", scope="lane")
            case "rejects":
                raise Reject("never")
            case "raises":
                raise RuntimeError("broken")
            case "holds":
                await self.held.wait()
            case "accepts":
                await asyncio.sleep(0)
        self.accepted.add(delivery.event.id)
        self.moves += 1

    def release(self) -> None:
        """Answer what is held."""
        self.held.set()
        self.held = asyncio.Event()


class World:
    """Everything of one run. Every method leaves it calm."""

    def __init__(self, url: str, free_leases: Callable[[], object]) -> None:
        self.url = url
        self.clock = HandClock()
        self.sinks: dict[str, MoodySink] = {}
        self.committed: dict[int, EventRef] = {}
        self.started: set[str] = set()  #: sinks of the running process
        self.forgotten: set[tuple[str, int]] = set()
        """Sink and position of dead letters that retention removed in their time."""
        self._free_leases = free_leases
        self._runner = asyncio.Runner()
        self._entries = itertools.count(1)
        self._stack: AsyncExitStack
        self._desk: Desk
        self._gates: dict[str, Gate] = {}
        self._dispatcher: Dispatcher
        self._running: asyncio.Task[None]
        self._stop: asyncio.Event
        self.add_sink()
        self.run(self._begin())

    def run(self, what: Awaitable[Any]) -> Any:
        """Do something on the world's own loop, then wait until all is calm."""

        async def within() -> Any:
            async with asyncio.timeout(60):
                done = await what
                await self._calm()
                return done

        return self._runner.run(within())

    # What may happen

    def add_sink(self) -> None:
        """Configure one more plugin; it is there from the next start."""
        name = f"sink{len(self.sinks)}"
        newest = max(self.committed, default=0)
        self.sinks[name] = MoodySink(name, newest)

    async def commit(self, looks: dict[str, list[str]]) -> None:
        """Commit looks at jobs."""
        await self._desk.tell_all(looks)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    async def release(self, name: str) -> None:
        """Let a sink answer what it holds."""
        self.sinks[name].release()

    async def pause(self, name: str) -> None:
        """Pause a plugin as a person does."""
        self._gates[name].pause("enough")

    async def resume(self, name: str) -> None:
        """Resume it."""
        self._gates[name].resume()

    async def redeliver(self, **asked: Any) -> None:
        """Ask for something once more, as far as it can be."""
        redeliver = self._desk.store.redeliver
        plugins = [one.instance for one in self._gates.values()]
        plan = await redeliver.plan(Selection(**asked), plugins)
        await redeliver.make(plan, deed=Deed("model", "redeliver"))
        self._dispatcher.expect_redeliveries()

    async def take_back(self) -> None:
        """Take back what was asked for last."""
        redeliver = self._desk.store.redeliver
        for last in await redeliver.recent(limit=1):
            await redeliver.cancel(last.id, by="model")
        self._dispatcher.expect_redeliveries()

    async def forget(self, older_than: float) -> None:
        """Let retention remove what is older, dead letters with it."""
        before = await self._buried()
        old = await self._buried(self.clock.now() - older_than)
        await self._desk.store.retention.purge(
            self._desk.fence, older_than=older_than, plugins=list(self.sinks)
        )
        after = await self._buried()
        assert before - after <= old, "a dead letter went before its time"
        self.forgotten |= before - after

    async def restart(self, *, cleanly: bool) -> None:
        """End the process, in order or not, and begin a new one."""
        await self._end(cleanly=cleanly)
        await self._begin()

    # What must always be true

    def check(self) -> None:
        """Fail if any promise is broken."""
        marks, lanes, buried, logged = self.run(self._books())
        given_up = buried | self.forgotten
        self._check_journal()
        for name, sink in self.sinks.items():
            self._check_arrivals(sink)
            for position in self._owed(sink):
                ref = self.committed[position]
                finished = position <= max(
                    marks.get(name, 0), lanes.get((name, ref.job_key), 0)
                )
                if finished and ref.id not in sink.accepted:
                    assert (name, position) in given_up, f"{ref.id} is lost to {name}"
                if finished and (name, position) not in given_up:
                    assert (name, position) in logged, f"{ref.id} is not in the log"

    def check_drained(self) -> None:
        """Fail unless every sink has everything, or a dead letter says why not."""
        for sink in self.sinks.values():
            sink.mood = "accepts"
            sink.release()
            self.run(self.resume(sink.name))
        for _ in range(DRAINED):
            if self._dispatcher.is_drained:
                break
            self.run(self.pass_time(600.0))
        assert self._dispatcher.is_drained, "something is never told"
        self.check()
        given_up = self.run(self._buried()) | self.forgotten
        assert self.run(self._left()) == [], "something is never delivered again"
        for name, sink in self.sinks.items():
            for position in self._owed(sink):
                ref = self.committed[position]
                assert ref.id in sink.accepted or (name, position) in given_up

    def close(self) -> None:
        """End it all."""
        self._runner.run(self._end(cleanly=True))
        self._runner.close()

    # Within

    def _owed(self, sink: MoodySink) -> list[int]:
        return [
            position
            for position, ref in self.committed.items()
            if position > sink.starts_after and ref.type == MESSAGE
        ]

    def _check_journal(self) -> None:
        newest: dict[int, int] = defaultdict(int)
        ids = set()
        for position in sorted(self.committed):
            ref = self.committed[position]
            sequence = _sequence(ref)
            assert sequence > newest[ref.job_key], "a sequence went back"
            newest[ref.job_key] = sequence
            assert ref.id not in ids, "two changes share an id"
            ids.add(ref.id)

    def _check_arrivals(self, sink: MoodySink) -> None:
        bodies = {ref.id: ref.body for ref in self.committed.values()}
        first: dict[str, int] = {}
        newest: dict[str, int] = defaultdict(int)
        for delivery in sink.given:
            event = delivery.event
            assert delivery.body == bodies[event.id], "other bytes under the same id"
            if delivery.redelivered or event.id in first:
                continue
            sequence = first[event.id] = event.common.sequence
            assert sequence > newest[event.common.id], "told out of order"
            newest[event.common.id] = sequence

    async def _left(self) -> list[Any]:
        return await self._desk.rows("SELECT * FROM stretch")

    async def _books(
        self,
    ) -> tuple[dict[Any, int], dict[Any, int], set[Any], set[Any]]:
        rows = self._desk.rows
        marks = {row.plugin: row.position for row in await rows("SELECT * FROM mark")}
        found = await rows("SELECT * FROM lane WHERE job_key >= 0")
        lanes = {(row.plugin, row.job_key): row.cursor for row in found}
        buried = await self._buried()
        accepted = "SELECT plugin, position FROM attempt WHERE outcome = 'accepted'"
        logged = {(row.plugin, row.position) for row in await rows(accepted)}
        return marks, lanes, buried, logged

    async def _buried(self, before: float = math.inf) -> set[tuple[str, int]]:
        """Return which sink has a dead letter of which position, written before."""
        return {
            (row.plugin, position)
            for row in await self._desk.rows("SELECT * FROM dead_letter")
            for position, ref in self.committed.items()
            if ref.job_key == row.job_key
            and row.first_position <= position <= row.last_position
            and row.at < before
        }

    async def _begin(self) -> None:
        self._free_leases()
        self._stack = AsyncExitStack()
        self._desk = await self._stack.enter_async_context(desk(self.url, self.clock))
        self._desk.entries = self._entries
        self._desk.store.journal.listen(self._heard)
        for sink in self.sinks.values():
            sink.held = asyncio.Event()
        self._gates = {
            name: gate(sink, name, clock=self.clock, concurrency=3)
            for name, sink in self.sinks.items()
        }
        self.started = set(self.sinks)
        self._dispatcher = self._desk.dispatcher(*self._gates.values())
        self._stop = asyncio.Event()
        # It outlives this call; whoever ends the process awaits it.
        self._running = asyncio.get_running_loop().create_task(
            self._dispatcher.run(self._stop, grace=0.0), name="dispatcher"
        )
        await self._dispatcher.loaded.wait()

    async def _end(self, *, cleanly: bool) -> None:
        if cleanly:
            self._stop.set()
            await self._running
            await self._desk.store.leases.release(self._desk.fence)
        else:
            self._running.cancel()
            await asyncio.wait([self._running])
        await self._stack.aclose()

    def _heard(self, refs: Any) -> None:
        for ref in refs:
            self.committed[ref.position] = ref

    async def _calm(self) -> None:
        """Wait until nothing can happen but by us."""
        moves, since = self._moves(), time.monotonic()
        while True:
            for _ in range(10):
                await asyncio.sleep(0)
            assert not self._running.done(), "the dispatcher ended"
            if self._dispatcher.idle.is_set():
                return
            if self._moves() != moves:
                moves, since = self._moves(), time.monotonic()
            if self._is_held() and time.monotonic() - since > STILL:
                return
            await asyncio.sleep(0.001)

    def _moves(self) -> int:
        return sum(sink.moves for sink in self.sinks.values())

    def _is_held(self) -> bool:
        return any(sink.mood == "holds" for sink in self.sinks.values()) or any(
            gate.state().in_flight for gate in self._gates.values()
        )


def _sequence(ref: EventRef) -> int:
    return decode(ref.body).common.sequence
