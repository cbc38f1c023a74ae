"""A desk whose dispatcher takes up what the command line asks for beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.dispatching import MESSAGE, Desk, desk
from support.program import Ended, Program
from tunewatch.clock import SystemClock
from tunewatch.dispatch import Gate

EVERY = 0.05
"""s between looks at what was asked for: the daemon's own loop looks twice a second."""


@asynccontextmanager
async def serving_desk(url: str, *gates: Gate) -> AsyncIterator[Desk]:
    """Run a dispatcher on a store that is served as a daemon would."""
    async with (
        desk(url, SystemClock()) as d,
        d.dispatching(*gates) as dispatcher,
        asyncio.TaskGroup() as tasks,
    ):

        async def look() -> None:
            while True:
                await d.store.leases.renew([d.fence])
                dispatcher.expect_redeliveries()
                await asyncio.sleep(EVERY)

        looking = tasks.create_task(look(), name="look")
        yield d
        looking.cancel()


def beside(directory: Path, url: str) -> Program:
    """Return the program with a configuration for that store: ops and spare."""
    program = Program(directory)
    configuration = directory / "conf.toml"
    hook = (
        'kind = "webhook"\nurl = "https://hooks.example.com/x"\n'
        'secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="\n'
        f'events = ["{MESSAGE}"]\n'
    )
    configuration.write_text(
        f"[daemon]\nstate = '{url}'\n[sources.research]\napi_key = 'k'\n"
        f"[plugins.ops]\n{hook}[plugins.spare]\n{hook}sources = ['elsewhere']\n"
    )
    program.environ["TUNEWATCH_CONFIG"] = str(configuration)
    return program


async def run(program: Program, *arguments: Any) -> Ended:
    """Run a command beside the desk, without holding up its loop."""
    return await asyncio.to_thread(program, *map(str, arguments))
