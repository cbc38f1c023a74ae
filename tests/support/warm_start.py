"""The program in processes that had imported it before they began.

A start spends a second or more of a core on imports, which some hundred starts of the
suite would spend again each. Here a server process imports once and forks for every
start. What begins is a process like any other, with a pid, signals, an environment, a
directory and an exit code of its own; only how long a start takes, and what it imports,
cannot be seen in it: that is for tests with cold ones.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import NamedTuple

IMPORTED = (
    "__main__",  # else each process would run it again, to find its target
    "support.warm_start",
    "tunewatch.app.process",
    "tunewatch.app.daemon",
    "tunewatch.cli.main",
    "tunewatch.cli.check_command",
    "tunewatch.cli.redeliver_command",
    "tunewatch.cli.run_command",
    "tunewatch.sources.azure",
    "tunewatch.sources.http",
    "tunewatch.sources.openai.client",
    "tunewatch_plugins.best_checkpoint",
    "tunewatch_plugins.prometheus",
    "tunewatch_plugins.webhook",
    "asyncpg",
    "openai.resources.fine_tuning",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.pysqlite",
)


class Start(NamedTuple):
    """What a process is to be, from its first moment on."""

    arguments: Sequence[str]
    directory: Path
    environ: Mapping[str, str]
    out: Path
    err: Path


class WarmProcess:
    """A process, as `asyncio.subprocess` would show it."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal that ended it, None while it runs."""
        return self._process.exitcode

    async def wait(self) -> int:
        """Return its exit code as soon as it has one."""
        # Several may wait, which one reader of its pipe would not tell all of.
        while (code := self.returncode) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return code

    def join(self, timeout: float) -> int | None:
        """Return its exit code, None if it goes on for longer than these seconds."""
        self._process.join(timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it is over."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.send_signal(signal.SIGKILL)


def warm_process(start: Start) -> WarmProcess:
    """Start the program. Its output is added to the files named."""
    process = _server().Process(target=_begin, args=(start,), daemon=True)
    process.start()
    return WarmProcess(process)


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def _begin(start: Start) -> None:
    """Become the program, in the process that was forked for it."""
    _speak_to(start.out, start.err)
    os.chdir(start.directory)
    os.environ.clear()
    os.environ.update(start.environ)
    time.tzset()
    sites = start.environ.get("PYTHONPATH", "").split(":")
    sys.path[:0] = [str(start.directory), *filter(None, sites)]
    importlib.invalidate_caches()
    sys.argv = ["tunewatch", *start.arguments]
    main = importlib.import_module("tunewatch.cli.main").main
    try:
        main()
    finally:
        # What an interpreter does at its end, and would complain of.
        atexit._run_exitfuncs()
        gc.collect()


def _speak_to(out: Path, err: Path) -> None:
    for path, number in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
