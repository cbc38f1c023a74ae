"""Read the store for a command, beside a running daemon or without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tunewatch.cli.exits import USAGE, Quit
from tunewatch.cli.settings import load_daemon
from tunewatch.store.overview import FoundJob
from tunewatch.store.reading import open_reader
from tunewatch.store.reads import Reader

T = TypeVar("T")


def read(given: Path | None, ask: Callable[[Reader], Awaitable[T]]) -> T:
    """Return what a question to the store is answered. Raises StoreFault."""
    daemon = load_daemon(given)
    password = None if daemon.password is None else daemon.password.get

    async def answered() -> T:
        async with open_reader(daemon.state, password=password) as reader:
            return await ask(reader)

    return asyncio.run(answered())


def only(found: Sequence[FoundJob], job_id: str) -> FoundJob:
    """Return the one job that was found. Raises Quit if it is none or several."""
    if not found:
        raise Quit(
            USAGE, f"there is no job {job_id} in the store; `tunewatch jobs` lists them"
        )
    if len(found) > 1:
        sources = ", ".join(sorted(one.source for one in found))
        raise Quit(
            USAGE,
            f"job {job_id} is known to more than one source: {sources}; say which "
            "with --source",
        )
    return found[0]
