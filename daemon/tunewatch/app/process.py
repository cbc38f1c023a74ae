"""The daemon as a process: its event loop, its signals, its exit code."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Any

import structlog

from tunewatch.app.daemon import Ready, run_daemon
from tunewatch.config import Settings

SAME_SIGNAL = 0.5
"""s within which a signal is the echo of the first: some send it to the whole group."""


def run(
    settings: Settings,
    *,
    once: bool = False,
    on_ready: Callable[[Ready], None] | None = None,
) -> int:
    """Run the daemon until SIGTERM or SIGINT, or with `once` until all is done.

    Returns the exit code. A second signal ends it at once. Raises StoreFault,
    CannotListen and ConfigError for what keeps it from starting.
    """

    def ready(what: Ready) -> None:
        exempt_what_stays()
        if on_ready is not None:
            on_ready(what)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_until_signalled(settings, once=once, on_ready=ready))


def exempt_what_stays() -> None:
    """Take what there is now out of the garbage collector's rounds.

    Modules and parts live as long as the process: going over them again and again held
    the loop for 55 ms each time, a seventh of the time while webhooks went out fast.
    """
    gc.collect()
    gc.freeze()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed (the extra `speed`)."""
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop


def _until_signalled(
    settings: Settings,
    *,
    once: bool,
    on_ready: Callable[[Ready], None],
) -> Coroutine[Any, Any, int]:
    async def main() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        told_at = float("-inf")

        def told(number: signal.Signals) -> None:
            nonlocal told_at
            log = structlog.get_logger(__name__)
            if not stop.is_set():
                log.info("daemon.told_to_stop", signal=number.name)
                told_at = loop.time()
                stop.set()
            elif loop.time() - told_at >= SAME_SIGNAL and task is not None:
                log.warning("daemon.told_to_end_at_once", signal=number.name)
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told, number)
        try:
            return await run_daemon(settings, stop=stop, once=once, on_ready=on_ready)
        except asyncio.CancelledError:
            if stop.is_set():
                return 130  # the second signal: whoever sent it wants no more of us
            raise

    return main()
