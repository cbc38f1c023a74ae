"""A whole dispatch set-up for tests: a real store, real commits, a clock of our own."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from tunewatch.diff import Observation
from tunewatch.dispatch import Dispatcher, Gate
from tunewatch.host import Instance
from tunewatch.model import Entry, Job, MetricPoint
from tunewatch.plugin import Clock, Delivery, Plugin
from tunewatch.store.opening import Store, open_store
from tunewatch.store.records import Committed, Fence

MESSAGE = "fine_tuning.event.message"
DEADLINE = 20.0
"""s until a condition that does not come true fails the test."""


class HandClock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.wall = time.time()
        self._monotonic = 1000.0
        self._sleepers: dict[asyncio.Event, float] = {}

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        up = asyncio.Event()
        self._sleepers[up] = round(self._monotonic + seconds, 6)
        try:
            await up.wait()
        finally:
            del self._sleepers[up]

    def advance(self, seconds: float) -> int:
        """Let time pass in both clocks; return how many sleepers woke."""
        self._monotonic = round(self._monotonic + seconds, 6)
        self.wall += seconds
        due = [up for up, at in self._sleepers.items() if at <= self._monotonic]
        for up in due:
            up.set()
        return len(due)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for a condition, within the deadline."""
    limit = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < limit, f"never came true: {what or condition}"
        await asyncio.sleep(0.001)


async def quiet(dispatcher: Dispatcher) -> None:
    """Wait until a dispatcher can do nothing but wait."""
    async with asyncio.timeout(DEADLINE):
        await dispatcher.idle.wait()


async def passes(
    d: Desk, dispatcher: Dispatcher, seconds: float, *, steps: int = 1
) -> None:
    """Let time pass, and what it sets free happen."""
    for _ in range(steps):
        await quiet(dispatcher)
        for _ in range(5):
            await asyncio.sleep(0)  # its alarm is set a moment after it says so
        dispatcher.idle.clear()
        if d.clock.advance(seconds / steps):
            await quiet(dispatcher)
        else:
            dispatcher.idle.set()


class NoSettings(BaseModel):
    """Settings of a plugin that has none."""

    model_config = ConfigDict(extra="forbid")


def _never_opened(settings: object, context: object) -> Any:
    raise AssertionError("tests hand in what is open already")


PLUGIN = Plugin(settings=NoSettings, events=("*",), open=_never_opened)


def gate(
    target: Any,
    name: str = "ops",
    *,
    clock: Clock,
    events: Sequence[str] = (MESSAGE,),
    jitter: float = 0.0,
    **instance: Any,
) -> Gate:
    """Return the gate of an open plugin."""
    made = Gate(
        Instance(
            name=name,
            kind=name,
            plugin=PLUGIN,
            settings=NoSettings(),
            events=tuple(events),
            **instance,
        ),
        clock=clock,
        jitter=lambda: jitter,
    )
    if target is not None:
        made.opened(target)
    return made


@dataclass
class Recorder:
    """A sink that notes what it was given and answers and returns as told."""

    answer: Callable[[Delivery], Any] | None = None
    got: list[Delivery] = field(default_factory=list)
    out: int = 0
    most_out: int = 0

    async def deliver(self, delivery: Delivery) -> Any:
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        try:
            answered = None if self.answer is None else self.answer(delivery)
            if asyncio.iscoroutine(answered):
                answered = await answered
            self.got.append(delivery)
            return answered
        finally:
            self.out -= 1

    @property
    def texts(self) -> list[str]:
        """The messages, in the order they came."""
        return [message_of(delivery) for delivery in self.got]

    def of_job(self, job_id: str) -> list[str]:
        """The messages of one job, in the order they came."""
        return [
            message_of(delivery)
            for delivery in self.got
            if delivery.event.common.id == job_id
        ]


def message_of(delivery: Delivery) -> str:
    """Return the text of a message event, else its type."""
    return getattr(delivery.event.payload, "message", delivery.event.type)


def decode_job(raw: bytes) -> Job:
    """Decode a raw job as a source would."""
    return msgspec.json.decode(raw, type=Job)


@dataclass
class Desk:
    """A store with one source whose lease we hold."""

    store: Store
    clock: Any
    source: str
    fence: Fence
    looks: Any = field(default_factory=lambda: itertools.count(1))
    entries: Any = field(default_factory=lambda: itertools.count(1))
    statuses: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)

    async def tell(
        self, job_id: str, *messages: str, status: str | None = None
    ) -> Committed:
        """Commit one look at a job, with these messages."""
        [done] = await self.tell_all({job_id: messages}, status=status)
        return done

    async def tell_all(
        self, looks: dict[str, Sequence[str]], *, status: str | None = None
    ) -> list[Committed]:
        """Commit looks at many jobs in one transaction."""
        seen = [
            self._observation(job_id, messages, status)
            for job_id, messages in looks.items()
        ]
        done = await self.store.journal.commit(self.fence, seen, decode=decode_job)
        assert all(isinstance(one, Committed) for one in done), done
        return done  # type: ignore[return-value]

    async def record(self, job_id: str, step: int, **values: float) -> Committed:
        """Commit one look at a job that brings the metrics of a step."""
        seen = self._observation(job_id, [], None)
        point = MetricPoint(step=step, created_at=int(seen.at), values=values)
        brought = Entry(
            id=f"ftevent-{self.source}-{next(self.entries)}",
            created_at=int(seen.at),
            type="metrics",
            point=point,
        )
        seen = replace(seen, entries=(brought,))
        [done] = await self.store.journal.commit(self.fence, [seen], decode=decode_job)
        assert isinstance(done, Committed), done
        return done

    def _observation(
        self, job_id: str, messages: Sequence[str], status: str | None
    ) -> Observation:
        now = self.clock.now()
        if status is not None:
            self.statuses[job_id] = status
        raw = {
            "id": job_id,
            "status": self.statuses.setdefault(job_id, "running"),
            "created_at": int(now),
            "metadata": self.metadata.get(job_id),
        }
        return Observation(
            job_id=job_id,
            look=next(self.looks),
            at=now,
            raw=json.dumps(raw).encode(),
            entries=tuple(
                Entry(
                    id=f"ftevent-{self.source}-{next(self.entries)}",
                    created_at=int(now),
                    message=message,
                )
                for message in messages
            ),
        )

    def dispatcher(self, *gates: Gate, **more: Any) -> Dispatcher:
        """Return a dispatcher that does not run yet."""
        return Dispatcher(
            carrier=self.store.carrier,
            journal=self.store.journal,
            fence=more.pop("fence", self.fence),
            source=self.source,
            gates=gates,
            clock=self.clock,
            jitter=lambda: 0.0,
            **more,
        )

    @asynccontextmanager
    async def dispatching(
        self, *gates: Gate, grace: float = 5.0, within: float = 60.0, **more: Any
    ) -> AsyncIterator[Dispatcher]:
        """Run a dispatcher; it is stopped cleanly at the end of the block."""
        stop = asyncio.Event()
        dispatcher = self.dispatcher(*gates, **more)
        async with asyncio.timeout(within), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(dispatcher.run(stop, grace=grace))
            await until(lambda: dispatcher.loaded.is_set() or running.done())
            try:
                yield dispatcher
            finally:
                stop.set()

    @asynccontextmanager
    async def killed(self, *gates: Gate, **more: Any) -> AsyncIterator[Dispatcher]:
        """Run a dispatcher; at the end of the block it dies without a word."""
        dispatcher = self.dispatcher(*gates, **more)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(dispatcher.run(asyncio.Event(), grace=5.0))
            await until(lambda: dispatcher.loaded.is_set() or running.done())
            yield dispatcher
            running.cancel()

    async def rows(self, sql: str, **values: Any) -> list[Any]:
        """Return rows of the store."""
        return await self.store.carrier.read(
            lambda connection: list(connection.execute(text(sql), values))
        )

    async def one(self, sql: str, **values: Any) -> Any:
        """Return the only value of the only row."""
        [[value]] = await self.rows(sql, **values)
        return value


@asynccontextmanager
async def desk(
    url: str, clock: Any = None, *, source: str = "research", realm: str = "openai"
) -> AsyncIterator[Desk]:
    """Open a store and take the lease of its one source."""
    clock = HandClock() if clock is None else clock
    async with open_store(url, clock=clock, owner="test") as store:
        yield await desk_of(store, clock, source, realm)


async def desk_of(store: Store, clock: Any, source: str, realm: str) -> Desk:
    """Return the desk of one more source of an open store."""
    row = await store.sources.contact(source, "openai", realm)
    fence = await store.leases.acquire(row.id)
    assert fence is not None
    return Desk(store, clock, source, fence)


class Tally:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, int]] = []
        self.dwells: list[float] = []
        self.burials: list[str] = []

    def attempted(
        self, plugin: str, *, source: str, attempt: int, outcome: str, seconds: float
    ) -> None:
        self.outcomes.append((outcome, attempt))

    def delivered(self, plugin: str, *, source: str, dwell: float) -> None:
        self.dwells.append(dwell)

    def buried(self, plugin: str, *, source: str, reason: str) -> None:
        self.burials.append(reason)
