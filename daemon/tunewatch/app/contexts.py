"""What a plugin is lent: its log, its directory, and eyes for the committed state."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from tunewatch.app.job_reader import StoreJobReader
from tunewatch.app.parts import Parts
from tunewatch.host import Instance
from tunewatch.plugin import Context
from tunewatch.store.address import sqlite_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """Makes the contexts of one process's plugins."""

    parts: Parts
    state: str  #: the store's address
    held: Callable[[], Sequence[int]]  #: the sources that are looked at here

    def of(self, instance: Instance, registry: CollectorRegistry) -> Context:
        """Return the context of a plugin; its directory is made where it is missing."""
        directory = state_directory(self.state) / instance.name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        clock = self.parts.clock
        reads = self.parts.store.reads
        return Context(
            name=instance.name,
            log=structlog.get_logger("plugin").bind(plugin=instance.name),
            state_dir=directory,
            jobs=StoreJobReader(
                reads=reads,
                held=self.held,
                clock=clock,
                hears=None if instance.sources == ("*",) else instance.hears,
                metadata=instance.metadata,
            ),
            metadata=instance.metadata,
            clock=clock,
            registry=registry,
            timeout=instance.timeout,
        )


def state_directory(state: str) -> Path:
    """Return where plugins may keep their caches: beside the store, if it is a file."""
    file = sqlite_path(state)
    if file is not None:
        return file.parent / "plugins"
    base = os.environ.get("STATE_DIRECTORY") or os.environ.get("XDG_STATE_HOME")
    home = Path(base) if base else Path.home() / ".local" / "state"
    return home / "tunewatch" / "plugins"
