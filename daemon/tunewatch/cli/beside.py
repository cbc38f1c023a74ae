"""Ask the running daemon for something: a row that it takes within a second.

The store is opened to write beside the daemon, without the lock that it holds; nothing
but requests is written this way.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from tunewatch.cli.exits import USAGE, Quit
from tunewatch.config import DaemonSettings, Settings
from tunewatch.store.carrier import Carrier


@asynccontextmanager
async def beside(daemon: DaemonSettings) -> AsyncIterator[Carrier]:
    """Open the store to write requests.

    Raises StoreUnusable if there is no store of this version yet.
    """
    from tunewatch.store.address import sqlite_path
    from tunewatch.store.reading import open_to_read
    from tunewatch.store.sqlite import sqlite_carrier

    password = None if daemon.password is None else daemon.password.get
    async with open_to_read(daemon.state, password=password):
        pass  # only to refuse what is not a store of this version
    path = sqlite_path(daemon.state)
    if path is not None:
        async with sqlite_carrier(path) as carrier:
            yield carrier
    else:
        from tunewatch.store.postgres import postgres_carrier

        async with postgres_carrier(daemon.state, password=password) as carrier:
            yield carrier


def who() -> str:
    """Return who asks, for the record: the process's user, whatever $USER says."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid-{os.getuid()}"
    return f"cli:{user}@{socket.gethostname()}"


def expect_plugin(settings: Settings, name: str) -> None:
    """Raise Quit, with the closest known name, unless a plugin is configured."""
    expect_name(settings.plugins, name)


def expect_name(known_names: Collection[str], name: str) -> None:
    """Raise Quit, with the closest known name, unless a plugin is called so."""
    from tunewatch.settings import hint

    if name not in known_names:
        hinted = hint(name, known_names, otherwise="configured are")
        raise Quit(USAGE, f"there is no plugin {name} in the configuration; {hinted}")
