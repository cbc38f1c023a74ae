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
from dataclasses import dataclass, replace
from typing import NoReturn

import structlog

from tunewatch import __version__, host, pace
from tunewatch.app.announcements import Announcements
from tunewatch.app.conditions import Conditions
from tunewatch.app.contexts import Contexts
from tunewatch.app.discreet import clearing
from tunewatch.app.health import DaemonHealth
from tunewatch.app.leasing import Leasing
from tunewatch.app.lives import Lives
from tunewatch.app.measures import Measures
from tunewatch.app.notifying import Notifier
from tunewatch.app.once import until_done
from tunewatch.app.operating import backing
from tunewatch.app.overseeing import Overseeing
from tunewatch.app.parts import Parts
from tunewatch.app.plugins import Plugins
from tunewatch.app.reloading import (
    Reload,
    Reloading,
    plugins_born,
    sources_born,
    tell_of,
)
from tunewatch.app.service import Service
from tunewatch.app.sources import openings, rename
from tunewatch.app.supervision import eternal
from tunewatch.app.telling import tell
from tunewatch.app.upkeep import LogBounds, Upkeep
from tunewatch.clock import Clock, SystemClock, sleep_or
from tunewatch.config import Address, Settings
from tunewatch.dispatch import Gate
from tunewatch.host import Instance
from tunewatch.plugin import Route
from tunewatch.poller.tide import Tide
from tunewatch.sources.http import shared_http
from tunewatch.store.address import sqlite_path
from tunewatch.store.opening import Store, open_store
from tunewatch.store.records import StoreUnavailable
from tunewatch.telemetry import Redactor, Telemetry
from tunewatch.web import Api, serving
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
    instances = host.instances(settings)
    daemon = _Daemon(
        settings,
        instances,
        clock or SystemClock(),
        jitter,
        notifier=notifier or Notifier(),
        on_ready=on_ready or (lambda _ready: None),
    )
    return await daemon.run(stop, once=once, reload=reload)


class _Daemon:
    """One run."""

    def __init__(
        self,
        settings: Settings,
        instances: Sequence[Instance],
        clock: Clock,
        jitter: pace.Jitter,
        *,
        notifier: Notifier,
        on_ready: Callable[[Ready], None],
    ) -> None:
        self._settings = settings
        self._instances = list(instances)
        self._on_ready = on_ready
        self._clock = clock
        self._jitter = jitter
        self._telemetry = Telemetry(version=__version__)
        self._gates = {one.name: self._gate_of(one) for one in instances}
        self._redact = Redactor(settings.secrets(), later=settings.learned)
        self._routes: list[Route] = []
        self._api = Api()
        self._lives = Lives(clock=clock, jitter=jitter)
        self._lives.expect(settings.sources)
        self._announcements = Announcements(
            find=self._lives.sources.get, clock=clock, telemetry=self._telemetry
        )
        self._overseeing = Overseeing(
            settings=settings,
            lives=self._lives,
            telemetry=self._telemetry,
            announcements=self._announcements,
            clock=clock,
            jitter=jitter,
        )
        self._health = DaemonHealth(
            gates=self._gates,
            lag=self._telemetry.lag,
            clock=clock,
            lives=self._lives,
            organizations=self._overseeing.organizations,
        )
        self._service = Service(notifier=notifier, health=self._health, clock=clock)

    async def run(
        self, stop: asyncio.Event, *, once: bool, reload: Reload | None
    ) -> int:
        """Run; tell the service manager meanwhile, if there is one."""
        if not self._service.notifier.is_heard:
            return await self._run(stop, once=once, reload=reload)
        code, fault = 0, None
        async with asyncio.TaskGroup() as tasks:
            told = tasks.create_task(self._service.keep(), name="service")
            try:
                code = await self._run(stop, once=once, reload=reload)
            except Exception as error:  # noqa: BLE001 - raised below, not in a group
                fault = error
            finally:
                told.cancel()
        if fault is not None:
            raise fault
        return code

    async def _run(
        self, stop: asyncio.Event, *, once: bool, reload: Reload | None
    ) -> int:
        self._born()
        async with AsyncExitStack() as stack:
            # The store first: a second daemon is told of the first, not of its port.
            store = await self._open_store(stack)
            address = await self._serve(stack)
            while store is None and not stop.is_set():
                await sleep_or(stop, OPEN_AGAIN, self._clock)
                store = await self._open_store(stack)
            if store is None:
                return 0  # told to stop before the database was back
            parts = self._parts(store)
            operating = backing(store, self._instances, self._health)
            self._api.backing = operating
            http = await stack.enter_async_context(shared_http())
            await rename(self._settings, parts)
            upkeep = self._upkeep(parts)
            async with asyncio.TaskGroup() as tasks:
                core = self._core(tasks, parts, upkeep, operating.tail)
                plugins = self._plugins(parts)
                await plugins.open_all(tasks, self._instances)
                await self._begin(tasks, parts, http)
                self._ready(address)
                code = 0
                if once:
                    organizations = self._overseeing.organizations.values()
                    code = await until_done(
                        self._lives, organizations, stop=stop, clock=self._clock
                    )
                elif reload is None:
                    await stop.wait()
                else:
                    reloading = self._reloading(reload, tasks, plugins, upkeep, http)
                    await _reload_until(stop, reloading)
                self._health.is_stopping = True
                self._service.stopping()
                stop.set()
                await self._overseeing.end()
                await self._lives.end_all()
                await plugins.close_all()
                for task in core:
                    task.cancel()
            await upkeep.conditions.forget()
        _log.info("daemon.stopped", code=code)
        return code

    def _gate_of(self, instance: Instance) -> Gate:
        return Gate(instance, clock=self._clock, jitter=self._jitter)

    def _born(self) -> None:
        """Let every total begin at 0, and say what is known already.

        Raises ConfigError for a secret of webhooks that cannot be used, and for an
        organisation of a kind that has none.
        """
        plugins_born(self._telemetry, self._gates)
        sources_born(self._telemetry, self._settings, list(self._settings.sources))
        self._overseeing.born()
        self._announcements.listen(self._settings.sources.values())
        self._telemetry.state_asked(self._health.store.is_up)
        tell_of(self._settings, self._telemetry)

    async def _serve(self, stack: AsyncExitStack) -> Address:
        return await stack.enter_async_context(
            serving(
                self._settings.daemon.listen,
                health=self._health,
                views=self._routes,
                token=self._token,
                api=self._api,
                hooks=self._announcements,
            )
        )

    async def _open_store(self, stack: AsyncExitStack) -> Store | None:
        """Open the store; None if its database is away. Raises StoreFault."""
        owner = f"{socket.gethostname()}-{random.SystemRandom().randrange(16**8):08x}"
        manager = open_store(
            self._settings.daemon.state,
            password=None if self._settings.daemon.password is None else self._password,
            clock=self._clock,
            owner=owner,
        )
        try:
            store = await stack.enter_async_context(manager)
        except StoreUnavailable as fault:
            self._health.store.away(fault.reason)
            return None
        self._health.store.back()
        return store

    def _parts(self, store: Store) -> Parts:
        store.journal.listen(lambda _refs: self._telemetry.state_written())
        store.journal.listen(tell)
        return Parts(
            store=store,
            leasing=Leasing(leases=store.leases, clock=self._clock),
            gates=self._gates,
            measures=Measures(self._telemetry),
            clock=self._clock,
            jitter=self._jitter,
            grace=self._settings.daemon.shutdown_grace,
            tide=Tide(self._clock),
        )

    def _plugins(self, parts: Parts) -> Plugins:
        contexts = Contexts(
            parts=parts,
            state=self._settings.daemon.state,
            held=self._health.polled,
        )
        return Plugins(
            registry=self._telemetry.registry,
            gates=self._gates,
            context_of=contexts.of,
            clock=self._clock,
            jitter=self._jitter,
            clear=clearing(self._redact),
            routes=self._routes,
        )

    def _upkeep(self, parts: Parts) -> Upkeep:
        return Upkeep(
            parts=parts,
            lives=self._lives,
            telemetry=self._telemetry,
            retention=self._settings.daemon.retention,
            log=LogBounds(
                self._settings.daemon.delivery_log,
                self._settings.daemon.delivery_log_rows,
            ),
            conditions=Conditions(
                gates=parts.gates,
                states=parts.store.plugin_states,
                clock=self._clock,
            ),
            presence=self._health.store,
            file=sqlite_path(self._settings.daemon.state),
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
            "lag": self._telemetry.lag.watch,
            "stream": tail.run,
        }
        parts.leasing.beat = upkeep.requests_beat = self._clock.monotonic()
        self._health.core = {
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
        lives, overseeing = self._lives, self._overseeing
        await lives.begin(tasks, openings(self._settings, parts, http))
        await overseeing.begin(tasks, parts, http)
        for row in await parts.store.sources.orphans(list(self._settings.sources)):
            if not lives.has(row.name):
                why = overseeing.why_not(row.name)
                lives.begin_orphan(tasks, row, parts, why=why)

    def _reloading(
        self,
        reload: Reload,
        tasks: asyncio.TaskGroup,
        plugins: Plugins,
        upkeep: Upkeep,
        http: object,
    ) -> Reloading:
        def accepted(settings: Settings) -> None:
            self._settings = settings
            reload.accepted(settings)

        return Reloading(
            settings=self._settings,
            reload=replace(reload, accepted=accepted),
            instances=self._instances,
            gates=self._gates,
            gate_of=self._gate_of,
            lives=self._lives,
            overseeing=self._overseeing,
            announcements=self._announcements,
            plugins=plugins,
            parts=upkeep.parts,
            upkeep=upkeep,
            telemetry=self._telemetry,
            redact=self._redact,
            service=self._service,
            http=http,
            tasks=tasks,
        )

    def _token(self) -> str | None:
        """Return the operator's token as it is now."""
        token = self._settings.daemon.api_token
        return None if token is None else token.get()

    def _password(self) -> str | None:
        """Return the database's password as it is now."""
        password = self._settings.daemon.password
        return None if password is None else password.get()

    def _ready(self, address: Address) -> None:
        self._health.is_started = True
        names = list(self._lives.sources)
        _log.info("daemon.ready", listen=str(address), sources=names)
        self._on_ready(Ready(address=address, sources=names))
        self._service.ready()


async def _reload_until(stop: asyncio.Event, reloading: Reloading) -> None:
    """Reload as often as it is asked for; a stop breaks a reload off."""
    async with asyncio.TaskGroup() as tasks:
        reloads = tasks.create_task(eternal("reload", reloading.keep), name="reload")
        await stop.wait()
        reloads.cancel()
