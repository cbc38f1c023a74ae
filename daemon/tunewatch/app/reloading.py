"""Another configuration for a daemon that runs: what changed is built anew, in place.

One that cannot be used is refused with its mistakes, and all stays as it was. What did
not change is not touched: the listener, leases, deliveries that are out, open plugins.
Decides nothing about how a source or a plugin works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NoReturn

import structlog

from tunewatch import host
from tunewatch.app.announcements import listening_of
from tunewatch.app.foundation import Foundation
from tunewatch.app.lives import HURRY
from tunewatch.app.overseeing import organizing_of
from tunewatch.app.plugins import Plugins
from tunewatch.app.sources import openings
from tunewatch.app.upkeep import LogBounds, Upkeep
from tunewatch.config import Settings, is_same
from tunewatch.host import Instance
from tunewatch.settings import ConfigError, Mistake

TRYING = 0.3
"""s that plugins are waited for; one that takes longer opens by and by."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Reload:
    """How a daemon comes by another configuration: `asked` is set by who wants it."""

    asked: asyncio.Event
    load: Callable[[], Settings]  #: raises ConfigError
    accepted: Callable[[Settings], None]  #: for what is not the daemon's: its log
    done: Callable[[], None]  #: called after each, whatever came of it


@dataclass(slots=True, kw_only=True)
class Reloading:
    """The parts of one daemon that follow the configuration."""

    base: Foundation
    reload: Reload
    plugins: Plugins
    upkeep: Upkeep
    http: object
    tasks: asyncio.TaskGroup
    _tried: list[asyncio.Event] = field(default_factory=list)

    async def keep(self) -> NoReturn:
        """Reload as often as it is asked for."""
        while True:
            await self.reload.asked.wait()
            self.reload.asked.clear()
            await self.once()

    async def once(self) -> None:
        """Read the configuration and go on with it, or with the one before."""
        began = self.upkeep.parts.clock.monotonic()
        self.base.service.notifier.reloading()
        try:
            found = await asyncio.to_thread(self.reload.load)
            instances = self._checked(found)
        except Exception as error:  # noqa: BLE001 - whatever it is, all stays as it was
            self._refuse(error)
        else:
            now = replace(found, learned=self.base.settings.learned)
            await self._adopt(now, instances)
            took = self.upkeep.parts.clock.monotonic() - began
            _log.info("config.reloaded", seconds=round(took, 3), files=found.files)
        self.base.service.ready()
        self.reload.done()

    def _refuse(self, error: Exception) -> None:
        is_told = isinstance(error, ConfigError)
        # Another exception's words may hold what must not be shown.
        reason = str(error) if is_told else f"a defect: {type(error).__name__}"
        self.base.telemetry.reloaded(ok=False)
        self.base.service.refused = reason
        _log.error("config.refused", reason=reason, exc_info=None if is_told else error)

    def _checked(self, found: Settings) -> list[Instance]:
        """Return the plugins of a configuration that can be used. Raises ConfigError.

        Whatever can be wrong is found here, before anything is touched.
        """
        if fixed := list(_fixed(self.base.settings, found)):
            raise ConfigError(fixed)
        for one in found.organizations.values():
            organizing_of(one)
        listening_of(found.sources.values())
        return host.instances(found)

    async def _adopt(self, now: Settings, instances: list[Instance]) -> None:
        before, self.base.settings = self.base.settings, now
        self.base.redact.renew(now.secrets())
        self.reload.accepted(now)
        self._set_process(now)
        self._exchange_plugins(before, now, instances)
        await self._exchange_sources(before, now)
        await self.base.overseeing.adopt(now, self.tasks, self.upkeep.parts, self.http)
        await self.upkeep.parts.leasing.let_go()
        with suppress(TimeoutError):
            async with asyncio.timeout(TRYING):
                for tried in self._tried:
                    await tried.wait()
        self.base.service.refused = None
        self.base.tell()

    def _set_process(self, now: Settings) -> None:
        daemon = now.daemon
        self.upkeep.parts.grace = daemon.shutdown_grace
        for dispatcher in self.base.lives.dispatchers():
            dispatcher.allow(daemon.shutdown_grace)
        self.upkeep.retention = daemon.retention
        self.upkeep.log = LogBounds(daemon.delivery_log, daemon.delivery_log_rows)

    # Plugins

    def _exchange_plugins(
        self, before: Settings, now: Settings, instances: list[Instance]
    ) -> None:
        old = {one.name: one for one in self.base.instances}
        kept = {
            one.name: old[one.name]
            for one in instances
            if one.name in old
            and one.digest == old[one.name].digest
            and is_same(before.plugins[one.name], now.plugins[one.name])
        }
        fresh = [one for one in instances if one.name not in kept]
        gone = old.keys() - {one.name for one in instances}
        self._tried = []
        if not fresh and not gone:
            return
        gates = {name: self.base.gates[name] for name in kept}
        gates |= {one.name: self.base.gate_of(one) for one in fresh}
        self.base.instances[:] = [kept.get(one.name, one) for one in instances]
        self.base.gates.clear()
        self.base.gates.update({one.name: gates[one.name] for one in instances})
        for name in gone:
            self.base.telemetry.plugin_gone(name)
        self.base.plugins_born(one.name for one in fresh)
        self._tried = self.plugins.exchange(self.tasks, fresh, gone=gone)
        for dispatcher in self.base.lives.dispatchers():
            dispatcher.exchange(list(self.base.gates.values()))
        names = sorted(one.name for one in fresh)
        _log.info("config.plugins", begun=names, ended=sorted(gone - set(names)))

    # Sources

    async def _exchange_sources(self, before: Settings, now: Settings) -> None:
        old, new = before.sources, now.sources
        over = [name for name, one in old.items() if not is_same(one, new.get(name))]
        begun = [name for name, one in new.items() if not is_same(one, old.get(name))]
        if not over and not begun:
            return
        lives = self.base.lives.sources
        rows = [lives[name].row for name in over if name in lives]
        self.base.lives.hurry([*over, *begun], grace=HURRY)
        self.upkeep.parts.leasing.pass_on(row.id for row in rows)
        for name in over:
            self.base.announcements.forget(name)
        await self.base.lives.end(*over)
        for row in rows:
            if row.name not in new:
                self.base.telemetry.source_gone(row.name)
                self.base.lives.begin_orphan(self.tasks, row, self.upkeep.parts)
        self.base.sources_born(begun)
        self.base.announcements.listen(new[name] for name in begun)
        self.base.lives.expect(begun)
        ways = openings(now, self.upkeep.parts, self.http)
        await self.base.lives.begin(self.tasks, {name: ways[name] for name in begun})
        ended = [name for name in over if name not in new]
        _log.info("config.sources", begun=begun, ended=ended)


def _fixed(before: Settings, now: Settings) -> Iterable[Mistake]:
    """Yield what cannot change while the daemon runs, and did."""
    where = now.files[0] if now.files else ""
    for key in ("state", "listen", "web_config_file"):
        if getattr(before.daemon, key) != getattr(now.daemon, key):
            text = "wanted what it is since the start; found another one. Restart to "
            yield Mistake(where=where, key=f"daemon.{key}", text=f"{text}change it")
    for name, old in now.former.items():
        if before.former.get(name) != old:
            text = "a source takes over another's state only at a start. Restart"
            key = f"sources.{name}.renamed_from"
            yield Mistake(where=where, key=key, text=text)
