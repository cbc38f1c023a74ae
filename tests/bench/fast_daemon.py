"""The daemon on a clock that runs ahead, as a process that tells how it is.

`python -m bench.fast_daemon CONFIG SPEED BEGAN EPOCH`: the time is EPOCH plus SPEED
times what passed since the machine's monotonic clock said BEGAN, as it is for whoever
simulates the API. Writes a line of JSON every few seconds: what it holds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import psutil
import structlog

from bench.loop import loop_factory
from tunewatch import config
from tunewatch.app.daemon import Ready, run_daemon
from tunewatch.app.process import exempt_what_stays
from tunewatch.cli.settings import plugin_model, source_model
from tunewatch.clock import FastClock

EVERY = 5.0
"""s of ours between two lines."""


def held(clock: FastClock) -> dict[str, object]:
    """Return what the process holds now."""
    process = psutil.Process()
    kinds = Counter(task.get_name().partition(":")[0] for task in asyncio.all_tasks())
    return {
        "days": clock.monotonic() / 86400.0,
        "resident": process.memory_info().rss,
        "files": process.num_fds(),
        "threads": process.num_threads(),
        "tasks": dict(kinds),
    }


async def _tell(clock: FastClock, is_ready: asyncio.Event) -> None:
    await is_ready.wait()
    while True:
        sys.stdout.write(json.dumps(held(clock)) + "\n")
        sys.stdout.flush()
        await asyncio.sleep(EVERY)


async def _run(path: Path, clock: FastClock) -> int:
    settings = config.load(
        path, os.environ, source_model=source_model, plugin_model=plugin_model
    )
    stop, is_ready = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    def ready(_what: Ready) -> None:
        exempt_what_stays()
        is_ready.set()

    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(_tell(clock, is_ready), name="telling")
        try:
            return await run_daemon(settings, stop=stop, clock=clock, on_ready=ready)
        finally:
            telling.cancel()


def main() -> int:
    """Run until SIGTERM."""
    path, speed, began, epoch = sys.argv[1:]
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(
        wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    clock = FastClock(float(speed), began=float(began), epoch=float(epoch))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_run(Path(path), clock))


if __name__ == "__main__":
    sys.exit(main())
