"""The sources that live in this process: a set that changes while it runs.

Each lives in a task of its own, from its opening to its end, because what a kind opens
may have to be closed by its opener. Decides nothing about which sources there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from tunewatch import pace
from tunewatch.app.orphans import OrphanLife
from tunewatch.app.parts import Parts
from tunewatch.app.supervision import restarted
from tunewatch.app.terms import SourceLife, first_of
from tunewatch.clock import Clock
from tunewatch.dispatch import Dispatcher
from tunewatch.store.records import SourceRow
from tunewatch.web import PartState

HURRY = 0.4
"""s for deliveries of a source that ends because its settings changed."""

LifeT = TypeVar("LifeT", SourceLife, OrphanLife)
Opening = Callable[[], AbstractAsyncContextManager[SourceLife]]
"""Opens a source and meets it in the store."""


@dataclass(slots=True)
class _Running:
    """One life that was begun: told to end by `over`, tried once by `met`."""

    task: asyncio.Task[None]
    over: asyncio.Event
    met: asyncio.Event
    is_orphan: bool


@dataclass(slots=True, kw_only=True)
class Lives:
    """The lives of one process, by the source's name."""

    clock: Clock
    jitter: pace.Jitter
    loop_died: Callable[[], object] = lambda: None  #: called at each death
    sources: dict[str, SourceLife] = field(default_factory=dict)
    orphans: dict[str, OrphanLife] = field(default_factory=dict)
    absent: dict[str, PartState] = field(default_factory=dict)
    """Why a source that should live does not, for /readyz."""
    titles: dict[str, str] = field(default_factory=dict)
    """What people call a source, where its name is an id."""
    _running: dict[str, _Running] = field(default_factory=dict)

    def expect(self, names: Iterable[str]) -> None:
        """Show sources from the first moment on, before anything can be opened."""
        for name in names:
            self.absent[name] = PartState(state="starting")

    async def begin(
        self, tasks: asyncio.TaskGroup, openings: Mapping[str, Opening]
    ) -> None:
        """Let sources live; return when each was opened, or failed to be once."""
        begun = []
        for name, opening in openings.items():
            await self.end(name)  # what it was before: an orphan
            begun.append(self._begin(tasks, name, opening, self.sources))
        for one in begun:
            await one.met.wait()

    def begin_orphan(
        self,
        tasks: asyncio.TaskGroup,
        row: SourceRow,
        parts: Parts,
        *,
        why: str | None = None,
    ) -> None:
        """Let a source live on without a configuration; `why` says what it lacks."""
        life = OrphanLife(row=row, lives=self.sources, parts=parts)
        life.why = why or life.why
        self._begin(tasks, row.name, partial(_as_it_is, life), self.orphans)

    async def end(self, *names: str) -> None:
        """Let lives end in order, all together; return when they have."""
        ending = [self._running[name] for name in names if name in self._running]
        for one in ending:
            one.over.set()
        if ending:
            await asyncio.wait([one.task for one in ending])
        for name in names:
            self._running.pop(name, None)
            self.absent.pop(name, None)

    def hurry(self, names: Iterable[str], *, grace: float) -> None:
        """Give deliveries of these so many seconds when their lives end."""
        for name in names:
            life: SourceLife | OrphanLife | None = self.sources.get(name)
            life = life or self.orphans.get(name)
            if life is not None and life.dispatcher is not None:
                life.dispatcher.allow(grace)

    def dispatchers(self) -> list[Dispatcher]:
        """Return the dispatchers that are at work, those of orphans among them."""
        lives: list[SourceLife | OrphanLife] = [*self.sources.values()]
        lives += self.orphans.values()
        return [life.dispatcher for life in lives if life.dispatcher is not None]

    async def end_all(self) -> None:
        """Let every life end; return when they have."""
        await self.end(*self._running)

    def has(self, name: str) -> bool:
        """Whether a source of that name was begun and not ended, orphans aside."""
        running = self._running.get(name)
        return running is not None and not running.is_orphan

    def are_any(self) -> bool:
        """Whether any was begun and not ended, also one that cannot live now."""
        return bool(self._running)

    def _begin(
        self,
        tasks: asyncio.TaskGroup,
        name: str,
        opening: Callable[[], AbstractAsyncContextManager[LifeT]],
        among: dict[str, LifeT],
    ) -> _Running:
        over, met = asyncio.Event(), asyncio.Event()

        def died(reason: str | None) -> None:
            if reason is not None:
                self.absent[name] = PartState(state="down", reason=reason)
                met.set()

        async def live() -> None:
            async with opening() as life:
                among[name] = life
                self.absent.pop(name, None)
                met.set()
                try:
                    while not over.is_set():
                        await life.run(over)
                finally:
                    del among[name]

        async def lives() -> None:
            """Live until it is over; who only waits for its lease is not waited for."""
            async with asyncio.TaskGroup() as inner:
                title = f"terms:{name}"
                running = inner.create_task(
                    restarted(
                        title,
                        live,
                        stop=over,
                        clock=self.clock,
                        jitter=self.jitter,
                        died=died,
                        counted=self.loop_died,
                    ),
                    name=title,
                )
                await first_of(over, running)
                if name not in among or among[name].fence is None:
                    running.cancel()

        task = tasks.create_task(lives(), name=f"source:{name}")
        is_orphan = among is self.orphans
        running = self._running[name] = _Running(task, over, met, is_orphan)
        return running


@asynccontextmanager
async def _as_it_is(life: OrphanLife) -> AsyncIterator[OrphanLife]:
    yield life
