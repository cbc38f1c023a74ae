"""A stranger's plugin whose calls block in threads, and the daemon that has it.

It also measures, from within, how late the event loop is. Knows nothing of what must be
true.
"""

from __future__ import annotations

import json
from pathlib import Path

from support.daemon_process import DaemonProcess
from support.distribution import write_package

NAME = "hangs"
SECONDS = 3600.0
"""s for which a call blocks its thread: longer than anybody waits."""
_MODULE = """
import asyncio, json, time
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel

from tunewatch.plugin import Plugin


class Settings(BaseModel):
    seconds: float
    latenesses: Path


class Hangs:
    def __init__(self, seconds):
        self.seconds = seconds

    async def deliver(self, delivery):
        await asyncio.to_thread(time.sleep, self.seconds)


async def measure(found):
    while True:
        due = time.monotonic() + 0.01
        await asyncio.sleep(0.01)
        found.append(max(0.0, time.monotonic() - due))


@asynccontextmanager
async def open_hangs(settings, context):
    found = []
    async with asyncio.TaskGroup() as tasks:
        measuring = tasks.create_task(measure(found), name="measure")
        yield Hangs(settings.seconds)
        measuring.cancel()
    settings.latenesses.write_text(json.dumps(found))


PLUGIN = Plugin(settings=Settings, events=("*",), open=open_hangs)
"""


class HangingDaemon(DaemonProcess):
    """A daemon with that plugin beside its webhooks, which asks an API by its name."""

    @property
    def latenesses(self) -> Path:
        """Where the plugin writes what it measured, when it is closed."""
        return self.program.directory / "latenesses.json"

    def late(self, share: float) -> float:
        """Return by how many s at most the loop was late for that share of the time."""
        found = sorted(json.loads(self.latenesses.read_text()))
        return float(found[int(share * (len(found) - 1))])

    def install(self) -> None:
        """Let the next process find the plugin."""
        site = write_package(
            self.program.directory,
            "hanging",
            {"tunewatch.plugins": {NAME: "hanging:PLUGIN"}},
            {"hanging": _MODULE},
        )
        self.program.environ["PYTHONPATH"] += f":{site}"
        self.program.is_cold = True

    def tables(self) -> str:
        """See `DaemonProcess`."""
        by_name = super().tables().replace("127.0.0.1", "localhost")
        return (
            f"{by_name}\n[plugins.{NAME}]\nseconds = {SECONDS}\n"
            f"latenesses = '{self.latenesses}'\ndelivery = {{ timeout = '1s' }}\n"
        )
