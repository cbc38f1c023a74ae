"""Open the configured plugins and keep them open, each on its own.

A plugin that does not open (a broker is down) degrades alone and is tried again; its
events wait. One that leaves is closed when nobody delivers to it any more, and the next
of its name opens after that. Knows no plugin by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeGuard

import structlog
from prometheus_client import CollectorRegistry

from tunewatch import bulkheads, pace
from tunewatch.app.discreet import Clear, discreet
from tunewatch.app.lent_registry import LentRegistry
from tunewatch.app.terms import first_of
from tunewatch.bulkheads import bulkhead
from tunewatch.clock import Clock, sleep_or
from tunewatch.dispatch import Gate
from tunewatch.host import Instance
from tunewatch.plugin import Answer, Context, Reactor, Route, Sink, View
from tunewatch.settings import ConfigError, Mistake
from tunewatch.unbidden import unbroken

FIRST_WAIT = 2.0
"""s before a plugin is opened again for the first time, doubling to five minutes."""
OPENING = 30.0
"""s a plugin may take to open."""

_log = structlog.get_logger(__name__)

ContextOf = Callable[[Instance, CollectorRegistry], Context]


@dataclass(slots=True, eq=False)
class _Kept:
    """One plugin that was begun: `tried` once, open until `over`."""

    instance: Instance
    gate: Gate
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    is_open: bool = False
    routes: list[Route] = field(default_factory=list)
    task: asyncio.Task[None] = field(init=False)


@dataclass(slots=True, kw_only=True)
class Plugins:
    """The plugins of one process."""

    gates: Mapping[str, Gate]
    context_of: ContextOf
    registry: CollectorRegistry  #: of the daemon's metrics
    clock: Clock
    jitter: pace.Jitter
    clear: Clear  #: takes the secrets out of what plugins say
    routes: list[Route] = field(default_factory=list)  #: what open views answer
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _leaving: set[_Kept] = field(default_factory=set)

    async def open_all(
        self, tasks: asyncio.TaskGroup, instances: Sequence[Instance]
    ) -> None:
        """Open every plugin in a task of its own; return when each was tried once.

        Raises ConfigError if two views want the same path.
        """
        begun = [self._begin(tasks, one, after=None) for one in instances]
        for one in begun:
            await one.tried.wait()
            _check_paths(one, self._kept.values())

    def exchange(
        self,
        tasks: asyncio.TaskGroup,
        instances: Sequence[Instance],
        *,
        gone: Iterable[str],
    ) -> list[asyncio.Event]:
        """Begin these, each after the one of its name; let those that are gone end.

        Their gates are to be in `gates` already. Returns what is set as each was tried
        once; one whose forerunner takes its time to close is not waited for.
        """
        tried = []
        for instance in instances:
            before = self._kept.get(instance.name)
            # A view holds nothing that two could not hold: no scrape finds none.
            is_view = before is not None and before.gate.is_deaf
            now = self._begin(tasks, instance, after=None if is_view else before)
            tried.append(now.tried)
            if before is not None:
                self._leave(tasks, before, now if is_view else None)
        for name in gone:
            self._leave(tasks, self._kept.pop(name), None)
        return tried

    async def close_all(self) -> None:
        """Close every plugin, and give up those that never opened."""
        every = [*self._kept.values(), *self._leaving]
        for one in every:
            one.over.set()
        if every:
            await asyncio.wait([one.task for one in every])

    def _begin(
        self, tasks: asyncio.TaskGroup, instance: Instance, *, after: _Kept | None
    ) -> _Kept:
        kept = _Kept(instance, self.gates[instance.name])
        kept.task = tasks.create_task(
            self._keep_apart(kept, after), name=f"plugin:{instance.name}"
        )
        self._kept[instance.name] = kept
        return kept

    def _leave(self, tasks: asyncio.TaskGroup, kept: _Kept, heir: _Kept | None) -> None:
        async def leave() -> None:
            await kept.gate.deserted()
            if heir is not None:
                await first_of(heir.tried, heir.task)
            kept.over.set()
            if not kept.is_open:
                kept.task.cancel()  # whatever it tries to reach is not wanted any more
            await asyncio.wait([kept.task])
            self._leaving.discard(kept)
            _log.info("plugin.closed", plugin=kept.instance.name)

        self._leaving.add(kept)
        tasks.create_task(leave(), name=f"plugin.leaves:{kept.instance.name}")

    async def _keep_apart(self, kept: _Kept, after: _Kept | None) -> None:
        with bulkhead(bulkheads.plugin(kept.instance.name)):
            await self._keep_open(kept, after)

    async def _keep_open(self, kept: _Kept, after: _Kept | None) -> None:
        """Open a plugin as soon as it goes, and close it at the end.

        In one task, because what a plugin opens may have to be closed by its opener.
        """
        if after is not None:
            await asyncio.wait([after.task])
        failures = 0
        while not kept.over.is_set():
            try:
                async with AsyncExitStack() as stack:
                    opened = await self._try_to_open(kept, stack)
                    if opened is not None:
                        self._take(kept, opened)
                        if failures:
                            name = kept.instance.name
                            _log.info("plugin.opened", plugin=name, after=failures)
                        failures = 0
                        await unbroken("the plugin", kept.over.wait())
                        self._drop(kept.routes)
                        return
            except Exception as error:  # noqa: BLE001 - plugin code: whatever it raises
                self._died(kept, error)
            failures += 1
            wait = pace.back_off(FIRST_WAIT, failures, self.jitter)
            await sleep_or(kept.over, wait, self.clock)

    def _take(self, kept: _Kept, opened: Sink | Reactor | View) -> None:
        kept.is_open = True
        # In front of those of whom it replaces, which close in a moment.
        self.routes[:0] = kept.routes
        kept.gate.opened(discreet(opened, self.clear))
        kept.tried.set()

    def _died(self, kept: _Kept, error: Exception) -> None:
        """Take in that something of its own ended a plugin, or that closing failed."""
        self._drop(kept.routes)
        kept.is_open = False
        reason = f"it died: {type(error).__name__}: {self.clear(str(error))}"
        kept.gate.closed(reason)
        _log.error("plugin.died", plugin=kept.instance.name, reason=reason)

    def _drop(self, routes: list[Route]) -> None:
        left = [one for one in self.routes if not any(one is old for old in routes)]
        self.routes[:] = left

    async def _try_to_open(
        self, kept: _Kept, stack: AsyncExitStack
    ) -> Sink | Reactor | View | None:
        instance = kept.instance
        try:
            lent = LentRegistry(self.registry)
            stack.callback(lent.clear)
            context = self.context_of(instance, lent)
            manager = instance.plugin.open(instance.settings, context)
            async with asyncio.timeout(OPENING):
                opened = await unbroken(
                    "its opening", stack.enter_async_context(manager)
                )
            if answers_requests(opened):
                owner = bulkheads.plugin(instance.name)
                kept.routes = [_apart(route, owner) for route in opened.routes()]
        except Exception as error:  # noqa: BLE001 - plugin code: whatever it raises
            said = self.clear(str(error))
            reason = f"it does not open: {type(error).__name__}: {said}"
            kept.gate.closed(reason)
            kept.tried.set()
            _log.warning("plugin.does_not_open", plugin=instance.name, reason=reason)
            return None
        return opened


def answers_requests(opened: Sink | Reactor | View) -> TypeGuard[View]:
    """Whether it is a view."""
    return hasattr(opened, "routes")


def _apart(route: Route, owner: str) -> Route:
    """Return a route whose answers use the threads of its plugin."""

    async def respond(headers: Mapping[str, str]) -> Answer:
        with bulkhead(owner):
            return await route.respond(headers)

    return Route(path=route.path, respond=respond)


def _check_paths(one: _Kept, every: Iterable[_Kept]) -> None:
    others = (kept for kept in every if kept is not one)
    paths = {route.path for kept in others for route in kept.routes}
    for route in one.routes:
        if route.path in paths:
            text = f"wanted the path {route.path}, which another plugin answers"
            key = f"plugins.{one.instance.name}"
            raise ConfigError([Mistake(where="", key=key, text=text)])
