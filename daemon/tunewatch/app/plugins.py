"""Open the configured plugins and keep them open, each on its own.

A plugin that does not open (a broker is down) degrades alone and is tried again; its
events wait. Knows no plugin by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeGuard

import structlog

from tunewatch import pace
from tunewatch.app.discreet import Clear, discreet
from tunewatch.clock import Clock, sleep_or
from tunewatch.dispatch import Gate
from tunewatch.host import Instance
from tunewatch.plugin import Context, Reactor, Route, Sink, View
from tunewatch.settings import ConfigError, Mistake

FIRST_WAIT = 2.0
"""s before a plugin is opened again for the first time, doubling to five minutes."""
OPENING = 30.0
"""s a plugin may take to open."""

_log = structlog.get_logger(__name__)

ContextOf = Callable[[Instance], Context]


@dataclass(slots=True, kw_only=True)
class Plugins:
    """The plugins of one process."""

    instances: Sequence[Instance]
    gates: Mapping[str, Gate]
    context_of: ContextOf
    clock: Clock
    jitter: pace.Jitter
    clear: Clear  #: takes the secrets out of what plugins say
    routes: list[Route] = field(default_factory=list)  #: what open views answer
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def open_all(self, tasks: asyncio.TaskGroup) -> None:
        """Open every plugin in a task of its own; return when each was tried once.

        Raises ConfigError if two views want the same path.
        """
        tried = []
        for instance in self.instances:
            tried.append(asyncio.Event())
            task = tasks.create_task(
                self._keep_open(instance, tried[-1]), name=f"plugin:{instance.name}"
            )
            self._tasks.append(task)
        for one in tried:
            await one.wait()

    async def close_all(self) -> None:
        """Close every plugin, and give up those that never opened."""
        self._over.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _keep_open(self, instance: Instance, tried: asyncio.Event) -> None:
        """Open a plugin as soon as it goes, and close it at the end.

        In one task, because what a plugin opens may have to be closed by its opener.
        """
        failures = 0
        while not self._over.is_set():
            async with AsyncExitStack() as stack:
                opened = await self._try_to_open(instance, stack)
                tried.set()
                if opened is not None:
                    self._take(instance, opened)
                    if failures:
                        _log.info("plugin.opened", plugin=instance.name, after=failures)
                    await self._over.wait()
                    return
            failures += 1
            wait = pace.back_off(FIRST_WAIT, failures, self.jitter)
            await sleep_or(self._over, wait, self.clock)

    def _take(self, instance: Instance, opened: Sink | Reactor | View) -> None:
        if answers_requests(opened):
            self.routes += _routes(instance, opened, self.routes)
        self.gates[instance.name].opened(discreet(opened, self.clear))

    async def _try_to_open(
        self, instance: Instance, stack: AsyncExitStack
    ) -> Sink | Reactor | View | None:
        context = self.context_of(instance)
        try:
            manager = instance.plugin.open(instance.settings, context)
            async with asyncio.timeout(OPENING):
                return await stack.enter_async_context(manager)
        except Exception as error:  # noqa: BLE001 - plugin code: whatever it raises
            said = self.clear(str(error))
            reason = f"it does not open: {type(error).__name__}: {said}"
            self.gates[instance.name].closed(reason)
            _log.warning("plugin.does_not_open", plugin=instance.name, reason=reason)
            return None


def answers_requests(opened: Sink | Reactor | View) -> TypeGuard[View]:
    """Whether it is a view."""
    return hasattr(opened, "routes")


def _routes(instance: Instance, view: View, taken: Sequence[Route]) -> list[Route]:
    paths = {route.path for route in taken}
    mine = list(view.routes())
    for route in mine:
        if route.path in paths:
            text = f"wanted the path {route.path}, which another plugin answers"
            key = f"plugins.{instance.name}"
            raise ConfigError([Mistake(where="", key=key, text=text)])
    return mine
