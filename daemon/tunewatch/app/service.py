"""The daemon as a service: how it is in one line, and signs of life.

The watchdog hears of us only while every supervised loop makes progress and the event
loop is not blocked; a loop that hangs is silent by itself. A start or a stop that takes
long asks for more time as long as it lives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn, Protocol

import structlog

from tunewatch.app.notifying import Notifier
from tunewatch.app.store_presence import StorePresence
from tunewatch.clock import Clock
from tunewatch.web import Health as WebHealth
from tunewatch.web import PartState, Readiness

EVERY = 5.0
"""s between looks at what there is to say."""
MORE_TIME = 30.0
"""s that a start or a stop asks for each time."""
TROUBLES = 3
"""Parts in trouble that are named; the others are counted."""

_log = structlog.get_logger(__name__)


class Health(WebHealth, Protocol):
    """How the daemon is, and what it is at."""

    @property
    def store(self) -> StorePresence: ...  # noqa: D102 - see `app.health`
    @property
    def is_started(self) -> bool: ...  # noqa: D102 - the same
    @property
    def is_stopping(self) -> bool: ...  # noqa: D102 - the same


@dataclass(slots=True, kw_only=True)
class Service:
    """What one daemon says to its service manager."""

    notifier: Notifier
    health: Health
    clock: Clock
    refused: str | None = None  #: why the last configuration was, if it was
    _said: str = ""
    _is_silent: bool = False

    async def keep(self) -> NoReturn:
        """Give signs of life for as long as the process lives."""
        watchdog = self.notifier.watchdog
        every = EVERY if watchdog is None else min(EVERY, watchdog / 4)
        while True:
            self._tell()
            await self.clock.sleep(every)

    def ready(self) -> None:
        """Say that it works, after the start or a reload."""
        self._said = self.status()
        self.notifier.ready(self._said)

    def stopping(self) -> None:
        """Say that it ends."""
        self._said = self.status()
        self.notifier.stopping(self._said)

    def status(self) -> str:
        """Return in one line how it is."""
        health = self.health
        if health.is_stopping:
            return "stopping: what is out may come back, then the store is closed"
        if not health.is_started:
            away = health.store.reason
            return "starting" if away is None else f"waiting for the database: {away}"
        said = [_summary(health.ready())]
        if self.refused is not None:
            said.append(f"goes on as before, the new one is refused: {self.refused}")
        return "; ".join(said)

    def _tell(self) -> None:
        health, notifier = self.health, self.notifier
        if not health.is_started or health.is_stopping:
            notifier.extend(MORE_TIME)
        if health.is_started:
            # Not only while it serves: a stop that hangs is to be ended, too.
            self._give_sign()
        status = self.status()
        if status != self._said:
            self._said = status
            notifier.status(status)

    def _give_sign(self) -> None:
        stuck = list(self.health.live())
        if not stuck:
            self.notifier.alive()
        elif not self._is_silent and self.notifier.watchdog is not None:
            _log.error("watchdog.not_fed", reasons=stuck)
        self._is_silent = bool(stuck)


def _summary(report: Readiness) -> str:
    sources, plugins = report.sources, report.plugins
    said = f"watches {_counted(len(sources), 'source')}"
    said += f", {_counted(len(plugins), 'plugin')}"
    troubles = [*_troubles(sources.items()), *_troubles(plugins.items())]
    if report.store is not None and report.store.reason is not None:
        troubles.insert(0, f"store {report.store.reason}")
    if report.web_config and report.web_config.state != "up":
        web = report.web_config
        troubles.insert(0, f"web configuration {web.state}: {web.reason}")
    shown = troubles[:TROUBLES]
    if len(troubles) > TROUBLES:
        shown.append(f"{len(troubles) - TROUBLES} more in trouble")
    return "; ".join([said, *shown])


def _troubles(parts: Iterable[tuple[str, PartState]]) -> Iterator[str]:
    for name, state in parts:
        if state.state not in ("up", "standby"):
            reason = "" if state.reason is None else f" ({state.reason})"
            yield f"{name} {state.state}{reason}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
