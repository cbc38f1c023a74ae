"""The daemon: its parts, in the order they need each other, and their end.

Stopping: not ready any more, polling ends, what is out is delivered within the grace,
leases go back, the store is closed.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import structlog

from tunewatch import __version__, host, pace
from tunewatch.app.discreet import clearing
from tunewatch.app.health import DaemonHealth
from tunewatch.app.job_reader import StoreJobReader
from tunewatch.app.leasing import Leasing
from tunewatch.app.measures import Measures
from tunewatch.app.orphans import OrphanLife, orphan_lives
from tunewatch.app.plugins import Plugins
from tunewatch.app.sources import open_lives
from tunewatch.app.supervision import eternal, restarted
from tunewatch.app.telling import tell
from tunewatch.app.terms import Life, SourceLife, first_of
from tunewatch.app.upkeep import Upkeep
from tunewatch.clock import Clock, SystemClock
from tunewatch.config import Address, Settings
from tunewatch.dispatch import Gate, Parcels
from tunewatch.host import Instance
from tunewatch.plugin import Context, Route
from tunewatch.store.address import sqlite_path
from tunewatch.store.opening import Store, open_store
from tunewatch.store.records import StoreUnavailable
from tunewatch.telemetry import Redactor, Telemetry
from tunewatch.web import serving

OPEN_AGAIN = 2.0
"""s between tries to open a store whose database is away."""

LOOK_AGAIN = 0.2
"""s between looks at whether `run --once` is done."""
FAILURES = 2
"""Failures of the list in a row after which `run --once` gives a source up."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What is known once the daemon runs."""

    address: Address  #: where its HTTP server listens
    lives: Sequence[SourceLife]


async def run_daemon(
    settings: Settings,
    *,
    stop: asyncio.Event,
    once: bool = False,
    on_ready: Callable[[Ready], None] | None = None,
    clock: Clock | None = None,
    jitter: pace.Jitter = random.random,
) -> int:
    """Run until `stop` is set, or with `once` until all due work is done.

    Returns the exit code: 0, or 69 if `once` and a source failed. Raises what keeps it
    from starting or going on: ConfigError, StoreFault, CannotListen.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        instances = host.instances(settings)
        store = await _open_store(stack, settings, clock, stop)
        if store is None:
            return 0  # told to stop before the database was back
        daemon = _Daemon(settings, store, instances, clock, jitter)
        return await daemon.run(stack, stop, once=once, on_ready=on_ready)


async def _open_store(
    stack: AsyncExitStack, settings: Settings, clock: Clock, stop: asyncio.Event
) -> Store | None:
    """Open the store; wait for a database that is away. None if told to stop."""
    password = settings.daemon.password
    owner = f"{socket.gethostname()}-{random.SystemRandom().randrange(16**8):08x}"
    is_away = False
    while not stop.is_set():
        manager = open_store(
            settings.daemon.state,
            password=None if password is None else password.get,
            clock=clock,
            owner=owner,
        )
        try:
            return await stack.enter_async_context(manager)
        except StoreUnavailable as fault:
            if not is_away:
                _log.warning("store.away", reason=fault.reason)
            is_away = True
        await clock.sleep(OPEN_AGAIN)
    return None


class _Daemon:
    """The parts of one run."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        instances: Sequence[Instance],
        clock: Clock,
        jitter: pace.Jitter,
    ) -> None:
        self._settings = settings
        self._store = store
        self._instances = instances
        self._clock = clock
        self._jitter = jitter
        self._telemetry = Telemetry(version=__version__)
        self._measures = Measures(self._telemetry)
        self._leasing = Leasing(leases=store.leases, clock=clock)
        self._parcels = Parcels()
        self._gates = {
            instance.name: Gate(instance, clock=clock, jitter=jitter)
            for instance in instances
        }
        self._lives: list[SourceLife] = []
        self._orphans: list[OrphanLife] = []

    async def run(
        self,
        stack: AsyncExitStack,
        stop: asyncio.Event,
        *,
        once: bool,
        on_ready: Callable[[Ready], None] | None,
    ) -> int:
        names = list(self._settings.sources)
        self._telemetry.born(sources=names, plugins=list(self._gates))
        for name, gate in self._gates.items():
            self._telemetry.plugin_asked(name, gate.is_taking)
        self._telemetry.reloaded(ok=True)
        self._store.journal.listen(lambda _refs: self._telemetry.state_written())
        self._store.journal.listen(tell)
        self._lives = await open_lives(
            stack,
            self._settings,
            store=self._store,
            leasing=self._leasing,
            gates=list(self._gates.values()),
            parcels=self._parcels,
            measures=self._measures,
            clock=self._clock,
            jitter=self._jitter,
        )
        self._orphans = await self._find_orphans()
        upkeep = self._upkeep()
        health = self._health(upkeep)
        lives: list[Life] = [*self._lives, *self._orphans]
        async with asyncio.TaskGroup() as tasks:
            core = self._core(tasks, upkeep)
            plugins = self._plugins(stack)
            routes = await plugins.open_all(tasks)
            address = await stack.enter_async_context(self._serving(health, routes))
            living = [
                tasks.create_task(self._live(life, stop), name=f"source:{life.name}")
                for life in lives
            ]
            health.is_started = True
            _log.info("daemon.ready", listen=str(address), sources=names)
            if on_ready is not None:
                on_ready(Ready(address=address, lives=self._lives))
            code = await self._until_done(stop, once=once)
            health.is_stopping = True
            stop.set()
            await asyncio.wait(living)
            for task in (*core, *plugins.trying):
                task.cancel()
        _log.info("daemon.stopped", code=code)
        return code

    def _serving(
        self, health: DaemonHealth, routes: Sequence[Route]
    ) -> AbstractAsyncContextManager[Address]:
        token = self._settings.daemon.api_token
        return serving(
            self._settings.daemon.listen,
            health=health,
            views=routes,
            token=None if token is None else token.get,
        )

    async def _until_done(self, stop: asyncio.Event, *, once: bool) -> int:
        if not once:
            await stop.wait()
            return 0
        while not stop.is_set() and not (
            all(is_done(life) for life in self._lives)
            and all(orphan.is_idle for orphan in self._orphans)
        ):
            await self._clock.sleep(LOOK_AGAIN)
        return 69 if any(has_failed(life) for life in self._lives) else 0

    async def _find_orphans(self) -> list[OrphanLife]:
        return await orphan_lives(
            self._lives,
            store=self._store,
            leasing=self._leasing,
            gates=list(self._gates.values()),
            parcels=self._parcels,
            measures=self._measures,
            clock=self._clock,
            jitter=self._jitter,
            grace=self._settings.daemon.shutdown_grace,
        )

    async def _live(self, life: Life, stop: asyncio.Event) -> None:
        """Let a source live term after term until it is time to stop."""

        def died(reason: str | None) -> None:
            life.died = reason

        async def term() -> None:
            await life.run(stop)

        async with asyncio.TaskGroup() as tasks:
            name = f"terms:{life.name}"
            running = tasks.create_task(
                restarted(
                    name,
                    term,
                    stop=stop,
                    clock=self._clock,
                    jitter=self._jitter,
                    died=died,
                ),
                name=name,
            )
            await first_of(stop, running)
            await self._let_go(life, running)

    async def _let_go(self, life: Life, running: asyncio.Task[None]) -> None:
        """End a term: at once if it only waits for its lease."""
        if life.fence is None:
            running.cancel()
        await asyncio.wait([running])

    def _core(
        self, tasks: asyncio.TaskGroup, upkeep: Upkeep
    ) -> list[asyncio.Task[NoReturn]]:
        """Start the loops without which the process is of no use."""
        loops: dict[str, Callable[[], Awaitable[object]]] = {
            "lease": self._leasing.keep,
            "requests": upkeep.serve_requests,
            "figures": upkeep.measure,
            "forget": upkeep.forget,
            "lag": self._telemetry.lag.watch,
        }
        now = self._clock.monotonic()
        self._leasing.beat = upkeep.requests_beat = now
        return [
            tasks.create_task(eternal(name, loop), name=name)
            for name, loop in loops.items()
        ]

    def _plugins(self, stack: AsyncExitStack) -> Plugins:
        return Plugins(
            instances=self._instances,
            gates=self._gates,
            context_of=self._context,
            clock=self._clock,
            jitter=self._jitter,
            stack=stack,
            clear=clearing(Redactor(self._settings.secrets())),
        )

    def _context(self, instance: Instance) -> Context:
        directory = state_directory(self._settings.daemon.state) / instance.name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        jobs = StoreJobReader(
            reads=self._store.reads,
            held=self._polled,
            clock=self._clock,
        )
        return Context(
            name=instance.name,
            log=structlog.get_logger("plugin").bind(plugin=instance.name),
            state_dir=directory,
            jobs=jobs,
            clock=self._clock,
            registry=self._telemetry.registry,
            timeout=instance.timeout,
        )

    def _polled(self) -> list[int]:
        """Return the sources that are looked at here: nobody knows of orphans' jobs."""
        return [life.row.id for life in self._lives if life.fence is not None]

    def _upkeep(self) -> Upkeep:
        return Upkeep(
            store=self._store,
            leasing=self._leasing,
            lives=self._lives,
            orphans=self._orphans,
            gates=self._gates,
            telemetry=self._telemetry,
            measures=self._measures,
            clock=self._clock,
            retention=self._settings.daemon.retention,
            file=sqlite_path(self._settings.daemon.state),
        )

    def _health(self, upkeep: Upkeep) -> DaemonHealth:
        return DaemonHealth(
            lives=self._lives,
            orphans=self._orphans,
            gates=self._gates,
            lag=self._telemetry.lag,
            clock=self._clock,
            core={
                "lease": lambda: self._leasing.beat,
                "requests": lambda: upkeep.requests_beat,
            },
        )


def state_directory(state: str) -> Path:
    """Return where plugins may keep their caches: beside the store, if it is a file."""
    file = sqlite_path(state)
    if file is not None:
        return file.parent / "plugins"
    base = os.environ.get("STATE_DIRECTORY") or os.environ.get("XDG_STATE_HOME")
    home = Path(base) if base else Path.home() / ".local" / "state"
    return home / "tunewatch" / "plugins"


def is_done(life: SourceLife) -> bool:
    """Whether a source has nothing more to do for `run --once`."""
    if has_failed(life):
        return True
    poller, dispatcher = life.poller, life.dispatcher
    return (
        poller is not None
        and dispatcher is not None
        and poller.is_caught_up.is_set()
        and dispatcher.idle.is_set()
    )


def has_failed(life: SourceLife) -> bool:
    """Whether a source does not answer, for `run --once`."""
    poller = life.poller
    return life.died is not None or (
        poller is not None and poller.trouble.failures >= FAILURES
    )
