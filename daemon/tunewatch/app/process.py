"""The daemon as a process: its event loop, its signals, its exit code."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import structlog

from tunewatch.app import allocator
from tunewatch.app.daemon import Ready, run_daemon
from tunewatch.app.notifying import Notifier
from tunewatch.app.reloading import Reload
from tunewatch.bulkheads import Bulkheads
from tunewatch.config import Settings

YOUNG = 10_000
"""Objects made and not freed between two of the collector's rounds over the young."""
SAME_SIGNAL = 0.5
"""s within which a signal is the echo of the first: some send it to the whole group."""

_log = structlog.get_logger(__name__)


def run(
    settings: Settings,
    *,
    once: bool = False,
    on_ready: Callable[[Ready], None] | None = None,
    load: Callable[[], Settings] | None = None,
    accepted: Callable[[Settings], None] = lambda _settings: None,
) -> int:
    """Run the daemon until SIGTERM or SIGINT, or with `once` until all is done.

    SIGHUP lets it go on with what `load` returns, of which `accepted` is told then.
    Returns the exit code. A second signal ends it at once. Raises StoreFault,
    CannotListen and ConfigError for what keeps it from starting.
    """
    allocator.keep_little(os.environ)
    notifier = Notifier.of(os.environ)

    def ready(what: Ready) -> None:
        exempt_what_stays()
        if on_ready is not None:
            on_ready(what)

    with _runner() as runner:
        reload = None
        if load is not None and not once:
            reload = Reload(
                asked=asyncio.Event(),
                load=load,
                accepted=accepted,
                done=exempt_what_stays,
            )
        running = partial(
            run_daemon,
            settings,
            once=once,
            on_ready=ready,
            reload=reload,
            notifier=notifier,
        )
        return runner.run(_until_signalled(running, reload))


def exempt_what_stays() -> None:
    """Take what there is now out of the garbage collector's rounds.

    Modules and parts live as long as the process: going over them again and again held
    the loop for 55 ms each time, a seventh of the time while webhooks went out fast.
    The rounds over what is young are rarer than by default: nearly all of it is freed
    without them, and they took a tenth of the time while many jobs run.
    """
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    gc.unfreeze()  # what a reload left
    gc.collect()
    gc.freeze()


@contextmanager
def _runner() -> Iterator[asyncio.Runner]:
    """Lend a runner with threads for each owner; say whose are left behind."""
    threads = Bulkheads()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.get_loop().set_default_executor(threads)
            yield runner
    finally:
        left = threads.at_work()
        if left:
            _log.warning("daemon.leaves_calls_behind", calls=left)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed (the extra `speed`)."""
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop


def _until_signalled(
    running: Callable[..., Coroutine[Any, Any, int]], reload: Reload | None
) -> Coroutine[Any, Any, int]:
    async def main() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        told_at = float("-inf")

        def told(number: signal.Signals) -> None:
            nonlocal told_at
            if not stop.is_set():
                _log.info("daemon.told_to_stop", signal=number.name)
                told_at = loop.time()
                stop.set()
            elif loop.time() - told_at >= SAME_SIGNAL and task is not None:
                _log.warning("daemon.told_to_end_at_once", signal=number.name)
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told, number)
        if reload is not None and not _has_terminal():
            loop.add_signal_handler(signal.SIGHUP, reload.asked.set)
        try:
            return await running(stop=stop)
        except asyncio.CancelledError:
            if stop.is_set():
                return 130  # the second signal: whoever sent it wants no more of us
            raise

    return main()


def _has_terminal() -> bool:
    """Whether a person runs it: a terminal that is closed ends what runs in it."""
    return sys.stderr is not None and sys.stderr.isatty()
