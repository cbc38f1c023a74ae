"""A polling set-up for tests: simulated API, real client and store, fast time."""

from __future__ import annotations

import asyncio
import inspect
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass, field, replace
from typing import Any

from tunewatch import pace
from tunewatch.clock import FastClock
from tunewatch.diff import Observation
from tunewatch.events import Event, decode
from tunewatch.poller.source_poller import SourcePoller, SourceSetting
from tunewatch.settings import Secret
from tunewatch.sources.azure import SOURCE as AZURE
from tunewatch.sources.contract import Call, Source, SourceContext
from tunewatch.sources.http import shared_http
from tunewatch.sources.openai import SOURCE as OPENAI
from tunewatch.store.journal import Journal
from tunewatch.store.opening import Store, open_store
from tunewatch.store.records import EventRef, Fence, SourceRow, StoreUnavailable
from tunewatch.testing import Request, SimulatedApi, SimulatedClock

SPEED = 300.0
"""Simulated seconds in a real one: a poll interval of 15 s takes 50 ms."""


async def until(
    condition: Callable[[], Any],
    *,
    within: float = 20.0,
    every: float = 0.01,
    what: str = "",
) -> None:
    """Wait until something holds; fail, saying what, if it does not in time.

    What the condition answers may itself have to be awaited.
    """
    deadline = time.monotonic() + within
    while not (await held if inspect.isawaitable(held := condition()) else held):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or condition}")
        await asyncio.sleep(every)


@dataclass(slots=True)
class Recorder:
    """Hears everything that is committed."""

    refs: list[EventRef] = field(default_factory=list)

    def __call__(self, refs: Any) -> None:
        self.refs.extend(refs)

    @property
    def events(self) -> list[Event]:
        """Return the events as a receiver would read them, each once."""
        unique = {ref.position: ref for ref in self.refs}
        return [decode(unique[position].body) for position in sorted(unique)]

    def of(self, job_id: str | None = None, *, kind: str = "") -> list[Event]:
        """Return the events of one job or of all, of types that begin so."""
        return [
            event
            for event in self.events
            if event.type.startswith(kind) and job_id in {None, event.common.id}
        ]

    def types(self, job_id: str | None = None) -> list[str]:
        """Return the types told, of one job or of all."""
        return [event.type for event in self.of(job_id)]

    def statuses(self, job_id: str | None = None) -> list[str]:
        """Return the statuses told, in order."""
        return [
            event.type.removeprefix("fine_tuning.job.")
            for event in self.of(job_id, kind="fine_tuning.job.")
        ]

    def messages(self, job_id: str) -> list[str]:
        """Return the ids of a job's messages as the API names them, in order."""
        told = self.of(job_id, kind="fine_tuning.event.message")
        return [event.payload.event_id for event in told]

    def points(self, job_id: str) -> list[Any]:
        """Return a job's points in the order told."""
        told = self.of(job_id, kind="fine_tuning.event.metrics")
        return [point for event in told for point in event.payload.points]

    def count(self, event_type: str, job_id: str | None = None) -> int:
        """Return how often a type was told. Decodes nothing: fit for waiting."""
        return len(
            {
                ref.position
                for ref in self.refs
                if ref.type == event_type
                and (job_id is None or job_id.encode() in ref.body)
            }
        )


@dataclass(slots=True, kw_only=True)
class Watch:
    """One source under watch, which can be stopped and begun again."""

    api: SimulatedApi
    url: str
    store: Store
    source: Source
    row: SourceRow
    fence: Fence
    clock: FastClock
    heard: Recorder
    calls: list[Call]
    setting: SourceSetting
    key: Callable[[], str | None]
    seed: int = 1

    def poller(self) -> SourcePoller:
        """Return a new poller, as after a start."""
        return SourcePoller(
            source=self.source,
            row=self.row,
            fence=self.fence,
            store=self.store,
            setting=self.setting,
            clock=self.clock,
            jitter=random.Random(self.seed).random,
            key=self.key,
        )

    def now(self) -> int:
        """Return the simulated unix second."""
        return int(self.api.clock.now())

    def asked(self, pattern: str = "*", *, after: float = 0.0) -> list[Request]:
        """Return the requests that match, from a simulated unix time on."""
        found = self.api.requests.matching(f"GET {pattern}")
        return [request for request in found if request.simulated >= after]

    async def skipped(self, seconds: float, *, every: float = 600.0) -> None:
        """Return after so many simulated seconds, most of which were leapt over."""
        assert isinstance(self.clock, SkippingClock)
        for _ in range(round(seconds / every)):
            self.clock.skip(every)
            self.api.clock.advance(every)
            await asyncio.sleep(0.05)

    async def passed(self, seconds: float) -> None:
        """Return after so many simulated seconds: for what must not happen in them."""
        await self.clock.sleep(seconds)

    async def already_known(self) -> None:
        """Commit a complete look at every job there is, as a long life would have."""
        after, look = None, 0
        while True:
            page = await self.source.list_jobs(after=after, limit=100)
            looks = []
            for raw in page.items:
                job_id, look = self.source.identify(raw.raw), look + 1
                entries = await self.source.list_entries(job_id, after=None, limit=100)
                seen = Observation(
                    job_id=job_id,
                    look=look,
                    at=self.clock.now(),
                    raw=raw.raw,
                    entries=entries.items[::-1],
                )
                looks.append(seen)
            decode_job = self.source.decode
            await self.store.journal.commit(self.fence, looks, decode=decode_job)
            after = page.cursor
            if after is None:
                await self.store.sources.save_walk(self.fence, None, done=True)
                return

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[SourcePoller]:
        """Poll while open; a poller that dies fails the test."""
        rows = {row.id: row for row in await self.store.sources.all()}
        self.row = rows[self.row.id]
        # A new lease term, as after any start: looks are counted anew.
        await self.store.leases.release(self.fence)
        fence = await self.store.leases.acquire(self.row.id)
        assert fence is not None
        self.fence = fence
        poller = self.poller()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(poller.run(), name="poller")
            try:
                yield poller
            finally:
                running.cancel()


def simulated(speed: float = SPEED, **settings: Any) -> SimulatedApi:
    """Return an API whose time runs with the poller's, stamps included."""
    clock = SimulatedClock(scale=speed, compress=False)
    return SimulatedApi(seed=7, clock=clock, **settings)


class SkippingClock(FastClock):
    """Fast time that can leap: hours of an outage in which nothing happens."""

    def __init__(self, speed: float) -> None:
        super().__init__(speed)
        self._skipped = 0.0

    def skip(self, seconds: float) -> None:
        self._skipped += seconds

    def monotonic(self) -> float:
        return super().monotonic() + self._skipped

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        while (left := end - self.monotonic()) > 0:
            await super().sleep(min(left, 0.02 * self.speed))


class ShyJournal:
    """A journal in front of the real one that takes nothing while it is shut."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.is_shut = False
        self.shuts_after = math.inf  #: commits
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def commit(self, *looks: Any, **how: Any) -> Any:
        self.is_shut = self.is_shut or self.shuts_after <= 0
        if self.is_shut:
            self.refused += 1
            raise StoreUnavailable("the disk is full")
        self.shuts_after -= 1
        return await self._journal.commit(*looks, **how)


def shy(watch: Watch) -> ShyJournal:
    """Put such a journal into a watch and return it."""
    journal = ShyJournal(watch.store.journal)
    watch.store = replace(watch.store, journal=journal)  # type: ignore[arg-type]
    return journal


def _source_of(
    api: SimulatedApi, url: str, context: SourceContext
) -> AbstractAsyncContextManager[Source]:
    """Return a source of the API's own kind."""
    if api.dialect == "azure":
        secret = Secret(context.secret, "the test")
        return AZURE.open(AZURE.settings(endpoint=url, api_key=secret), context)
    return OPENAI.open(OPENAI.settings(base_url=url), context)


@asynccontextmanager
async def watching(
    store_url: str,
    *,
    api: SimulatedApi | None = None,
    speed: float = SPEED,
    backfill: Any = "none",
    rates: pace.Rates | None = None,
    requests_per_minute: float = 6000.0,
    keys: list[str] | None = None,
    name: str = "research",
    beside: Watch | None = None,
    clock: FastClock | None = None,
    secret: Callable[[], str | None] | None = None,
) -> AsyncIterator[Watch]:
    """Set everything up; nothing polls until `polling` is entered.

    `beside` another one it is a further source over the same API, store and time.
    """
    if beside is not None:
        api = beside.api
    api = api or simulated(speed)
    clock = clock or (beside.clock if beside is not None else FastClock(speed))
    held = keys if keys is not None else ["sk-simulated"]
    key = secret or (lambda: held[0])
    calls: list[Call] = []
    async with AsyncExitStack() as stack:
        url = beside.url if beside is not None else ""
        url = url or await stack.enter_async_context(api.serve())
        http = await stack.enter_async_context(shared_http())
        context = SourceContext(name=name, secret=key, observe=calls.append, http=http)
        opened = _source_of(api, url, context)
        source = await stack.enter_async_context(opened)
        if beside is not None:
            store = beside.store
        else:
            store = await stack.enter_async_context(
                open_store(store_url, clock=clock, owner="test")
            )
        row = await store.sources.contact(
            name, api.dialect, source.realm, backfill=backfill
        )
        fence = await store.leases.acquire(row.id)
        assert fence is not None
        heard = Recorder()
        store.journal.listen(heard)
        yield Watch(
            api=api,
            url=url,
            store=store,
            source=source,
            row=row,
            fence=fence,
            clock=clock,
            heard=heard,
            calls=calls,
            setting=SourceSetting(
                rates=rates or pace.Rates(), requests_per_minute=requests_per_minute
            ),
            key=key,
        )
