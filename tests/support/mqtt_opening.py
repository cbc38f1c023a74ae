"""An MQTT plugin as the host opens it: its table checked, its context lent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import LogCapture

from tunewatch.clock import SystemClock
from tunewatch.plugin import Context
from tunewatch.settings import Place, checked
from tunewatch.testing.lent import LentJobs
from tunewatch_plugins.mqtt import PLUGIN, MqttSettings
from tunewatch_plugins.mqtt.sink import Mqtt


@dataclass(slots=True)
class Lent:
    """What a plugin is lent, and what it said."""

    directory: Path
    jobs: LentJobs = field(default_factory=LentJobs)
    log: LogCapture = field(default_factory=LogCapture)
    timeout: float = 15.0

    def context(self) -> Context:
        self.directory.mkdir(exist_ok=True)
        return Context(
            name="bus",
            log=structlog.wrap_logger(None, processors=[self.log]),
            state_dir=self.directory,
            jobs=self.jobs,
            clock=SystemClock(),
            registry=CollectorRegistry(),
            timeout=self.timeout,
        )

    def said(self, event: str) -> list[str]:
        """Return the reasons with which something was said."""
        found = [one for one in self.log.entries if one["event"] == event]
        return [one.get("reason", "") for one in found]

    @property
    def words(self) -> list[str]:
        """What was said, in order."""
        return [one["event"] for one in self.log.entries]


def settled(
    table: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> tuple[MqttSettings | None, list[str]]:
    """Return the settings of a table, or every mistake in it."""
    place = Place(prefix=("plugins", "bus"), environ=environ or {}, origin="a.toml")
    settings, mistakes = checked(PLUGIN.settings, table, place)
    return settings, [str(mistake) for mistake in mistakes]


@asynccontextmanager
async def opened(table: Mapping[str, Any], lent: Lent) -> AsyncIterator[Mqtt]:
    """Open the plugin with these settings."""
    settings, mistakes = settled(table)
    assert settings is not None, mistakes
    async with PLUGIN.open(settings, lent.context()) as plugin:
        assert isinstance(plugin, Mqtt)
        yield plugin
