"""Open the configured plugins and keep them open, each on its own.

A plugin that does not open (a broker is down) degrades alone and is tried again; its
events wait. Knows no plugin by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeGuard

import structlog

from tunewatch import pace
from tunewatch.app.discreet import Clear, discreet
from tunewatch.clock import Clock
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
    gates: dict[str, Gate]
    context_of: ContextOf
    clock: Clock
    jitter: pace.Jitter
    stack: AsyncExitStack
    clear: Clear  #: takes the secrets out of what plugins say
    trying: list[asyncio.Task[None]] = field(default_factory=list)

    async def open_all(self, tasks: asyncio.TaskGroup) -> list[Route]:
        """Open every plugin; return what views answer.

        One that fails is tried again in a task of the group. Raises ConfigError if two
        views want the same path.
        """
        routes: list[Route] = []
        for instance in self.instances:
            opened = await self._try_to_open(instance)
            if opened is None:
                trying = tasks.create_task(
                    self._keep_trying(instance), name=f"plugin:{instance.name}"
                )
                self.trying.append(trying)
            elif answers_requests(opened):
                routes += _routes(instance, opened, routes)
        return routes

    async def _try_to_open(self, instance: Instance) -> Sink | Reactor | View | None:
        gate = self.gates[instance.name]
        context = self.context_of(instance)
        try:
            manager = instance.plugin.open(instance.settings, context)
            async with asyncio.timeout(OPENING):
                opened = await self.stack.enter_async_context(manager)
        except Exception as error:  # noqa: BLE001 - plugin code: whatever it raises
            said = self.clear(str(error))
            reason = f"it does not open: {type(error).__name__}: {said}"
            gate.closed(reason)
            _log.warning("plugin.does_not_open", plugin=instance.name, reason=reason)
            return None
        gate.opened(discreet(opened, self.clear))
        return opened

    async def _keep_trying(self, instance: Instance) -> None:
        """Open a plugin as soon as it goes. A view's paths need a restart."""
        failures = 1
        while True:
            wait = pace.back_off(FIRST_WAIT, failures, self.jitter)
            await self.clock.sleep(wait)
            if await self._try_to_open(instance) is not None:
                _log.info("plugin.opened", plugin=instance.name, after=failures)
                return
            failures += 1


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
