"""The daemon: its parts, in the order they need each other, and their end.

Probes answer from the first moment on. Stopping: not ready any more, polling ends, what
is out is delivered within the grace, leases go back, the store is closed.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import structlog

from tunewatch import pace
from tunewatch.app.conditions import Conditions
from tunewatch.app.contexts import Contexts
from tunewatch.app.discreet import clearing
from tunewatch.app.foundation import Foundation
from tunewatch.app.leasing import Leasing
from tunewatch.app.measures import Measures
from tunewatch.app.notifying import Notifier
from tunewatch.app.once import until_done
from tunewatch.app.operating import backing
from tunewatch.app.parts import Parts
from tunewatch.app.plugins import Plugins
from tunewatch.app.reloading import Reload, Reloading
from tunewatch.app.sources import openings, rename
from tunewatch.app.supervision import eternal
from tunewatch.app.telling import tell
from tunewatch.app.upkeep import LogBounds, Upkeep
from tunewatch.clock import Clock, SystemClock, sleep_or
from tunewatch.config import Address, Settings
from tunewatch.poller.tide import Tide
from tunewatch.sources.http import shared_http
from tunewatch.store.address import sqlite_path
from tunewatch.store.opening import Store, open_store
from tunewatch.store.records import StoreUnavailable
from tunewatch.unbidden import going_on
from tunewatch.web import CannotListen, Handshakes, serving
from tunewatch.web.v1.tail import Tail

OPEN_AGAIN = 2.0
"""s between tries to open a store whose database is away."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What is known once the daemon runs."""

    address: Address  #: where its HTTP server listens
    sources: Sequence[str]  #: names of those that live


async def run_daemon(
    settings: Settings,
    *,
    stop: asyncio.Event,
    once: bool = False,
    on_ready: Callable[[Ready], None] | None = None,
    reload: Reload | None = None,
    notifier: Notifier | None = None,
    clock: Clock | None = None,
    jitter: pace.Jitter = random.random,
) -> int:
    """Run until `stop` is set, or with `once` until all due work is done.

    `reload` says how it comes by another configuration, `notifier` whom it tells how it
    is.

    Returns the exit code: 0, or 69 if `once` and a source failed. Raises what keeps it
    from starting or going on: ConfigError, StoreFault, CannotListen.
    """
    base = Foundation(
        settings,
        clock=clock or SystemClock(),
        jitter=jitter,
        notifier=notifier or Notifier(),
    )
    daemon = _Daemon(base, on_ready=on_ready or (lambda _ready: None))
    return await daemon.run(stop, once=once, reload=reload)


class _Daemon:
    """One run."""

    def __init__(self, base: Foundation, *, on_ready: Callable[[Ready], None]) -> None:
        self._base = base
        self._on_ready = on_ready

    async def run(
        self, stop: asyncio.Event, *, once: bool, reload: Reload | None
    ) -> int:
        """Run; tell the service manager meanwhile, if there is one."""
        if not self._base.service.notifier.is_heard:
            return await self._run(stop, once=once, reload=reload)
        async with going_on("service", eternal("service", self._base.service.keep)):
            return await self._run(stop, once=once, reload=reload)

    async def _run(
        self, stop: asyncio.Event, *, once: bool, reload: Reload | None
    ) -> int:
        self._base.born()
        # Two, since what is opened last here is not what is closed first.
        async with AsyncExitStack() as stack, AsyncExitStack() as front:
            address = await self._serve(front)
            store = await self._open_store(stack)
            if isinstance(address, CannotListen):
                raise address
            while store is None and not stop.is_set():
                await sleep_or(stop, OPEN_AGAIN, self._base.clock)
                await self._base.terms.look()
                store = await self._open_store(stack)
            if store is None:
                return 0  # told to stop before the database was back
            parts = self._parts(store)
            operating = backing(store, self._base.instances, self._base.health)
            self._base.api.backing = operating
            http = await stack.enter_async_context(shared_http())
            await rename(self._base.settings, parts)
            upkeep = self._upkeep(parts)
            async with asyncio.TaskGroup() as tasks:
                core = self._core(tasks, parts, upkeep, operating.tail)
                plugins = self._plugins(parts)
                await plugins.open_all(tasks, self._base.instances)
                await self._begin(tasks, parts, http)
                self._ready(address)
                code = 0
                if once:
                    organizations = self._base.overseeing.organizations.values()
                    code = await until_done(
                        self._base.lives,
                        organizations,
                        stop=stop,
                        clock=self._base.clock,
                    )
                elif reload is None:
                    await stop.wait()
                else:
                    reloading = Reloading(
                        base=self._base,
                        reload=reload,
                        plugins=plugins,
                        upkeep=upkeep,
                        http=http,
                        tasks=tasks,
                    )
                    await _reload_until(stop, reloading)
                self._base.health.is_stopping = True
                self._base.service.stopping()
                stop.set()
                await self._base.overseeing.end()
                await self._base.lives.end_all()
                await plugins.close_all()
                for task in core:
                    task.cancel()
            await upkeep.conditions.forget()
        _log.info("daemon.stopped", code=code)
        return code

    async def _serve(self, stack: AsyncExitStack) -> Address | CannotListen:
        """Listen, or return why not: who has the store, too, is told of that."""
        base = self._base
        manager = serving(
            base.settings.daemon.listen,
            health=base.health,
            views=base.routes,
            token=base.token,
            api=base.api,
            hooks=base.announcements,
            terms=base.terms,
            handshakes=Handshakes(base.telemetry.handshake_failed),
        )
        try:
            return await stack.enter_async_context(manager)
        except CannotListen as fault:
            return fault

    async def _open_store(self, stack: AsyncExitStack) -> Store | None:
        """Open the store; None if its database is away. Raises StoreFault."""
        owner = f"{socket.gethostname()}-{random.SystemRandom().randrange(16**8):08x}"
        base, daemon = self._base, self._base.settings.daemon
        manager = open_store(
            daemon.state,
            password=None if daemon.password is None else base.password,
            clock=base.clock,
            owner=owner,
        )
        try:
            store = await stack.enter_async_context(manager)
        except StoreUnavailable as fault:
            self._base.health.store.away(fault.reason)
            return None
        self._base.health.store.back()
        return store

    def _parts(self, store: Store) -> Parts:
        store.journal.listen(lambda _refs: self._base.telemetry.state_written())
        store.journal.listen(tell)
        return Parts(
            store=store,
            leasing=Leasing(leases=store.leases, clock=self._base.clock),
            gates=self._base.gates,
            measures=Measures(self._base.telemetry),
            clock=self._base.clock,
            jitter=self._base.jitter,
            grace=self._base.settings.daemon.shutdown_grace,
            tide=Tide(self._base.clock),
        )

    def _plugins(self, parts: Parts) -> Plugins:
        contexts = Contexts(
            parts=parts,
            state=self._base.settings.daemon.state,
            held=self._base.health.polled,
        )
        return Plugins(
            registry=self._base.telemetry.registry,
            gates=self._base.gates,
            context_of=contexts.of,
            clock=self._base.clock,
            jitter=self._base.jitter,
            clear=clearing(self._base.redact),
            routes=self._base.routes,
        )

    def _upkeep(self, parts: Parts) -> Upkeep:
        return Upkeep(
            parts=parts,
            lives=self._base.lives,
            telemetry=self._base.telemetry,
            retention=self._base.settings.daemon.retention,
            log=LogBounds(
                self._base.settings.daemon.delivery_log,
                self._base.settings.daemon.delivery_log_rows,
            ),
            conditions=Conditions(
                gates=parts.gates,
                states=parts.store.plugin_states,
                clock=self._base.clock,
            ),
            presence=self._base.health.store,
            file=sqlite_path(self._base.settings.daemon.state),
        )

    def _core(
        self, tasks: asyncio.TaskGroup, parts: Parts, upkeep: Upkeep, tail: Tail
    ) -> list[asyncio.Task[NoReturn]]:
        """Start the loops without which the process is of no use."""
        loops: dict[str, Callable[[], Awaitable[object]]] = {
            "lease": parts.leasing.keep,
            "requests": upkeep.serve_requests,
            "figures": upkeep.measure,
            "forget": upkeep.forget,
            "lag": self._base.telemetry.lag.watch,
            "stream": tail.run,
            "terms": partial(self._base.terms.keep, self._base.clock),
        }
        parts.leasing.beat = upkeep.requests_beat = self._base.clock.monotonic()
        self._base.health.leases_away = lambda: parts.leasing.away_reason
        self._base.health.core = {
            "lease": lambda: parts.leasing.beat,
            "requests": lambda: upkeep.requests_beat,
        }
        return [
            tasks.create_task(eternal(name, loop), name=name)
            for name, loop in loops.items()
        ]

    async def _begin(
        self, tasks: asyncio.TaskGroup, parts: Parts, http: object
    ) -> None:
        """Let every source live, and those that left the configuration live on."""
        lives, overseeing = self._base.lives, self._base.overseeing
        await lives.begin(tasks, openings(self._base.settings, parts, http))
        await overseeing.begin(tasks, parts, http)
        for row in await parts.store.sources.orphans(list(self._base.settings.sources)):
            if not lives.has(row.name):
                why = overseeing.why_not(row.name)
                lives.begin_orphan(tasks, row, parts, why=why)

    def _ready(self, address: Address) -> None:
        self._base.health.is_started = True
        names = list(self._base.lives.sources)
        _log.info("daemon.ready", listen=str(address), sources=names)
        self._on_ready(Ready(address=address, sources=names))
        self._base.service.ready()


async def _reload_until(stop: asyncio.Event, reloading: Reloading) -> None:
    """Reload as often as it is asked for; a stop breaks a reload off."""
    async with asyncio.TaskGroup() as tasks:
        reloads = tasks.create_task(eternal("reload", reloading.keep), name="reload")
        await stop.wait()
        reloads.cancel()
