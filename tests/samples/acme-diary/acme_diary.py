"""A sink that writes event types into a file; it opens once a gate file is there."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tunewatch.plugin import Plugin, Retry


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    path: Path
    gate: Path | None = None


class Diary:
    def __init__(self, path):
        self._path = path

    async def deliver(self, delivery):
        try:
            await asyncio.to_thread(self._write, delivery.event.type)
        except OSError as error:
            raise Retry(f"cannot write: {error.strerror}") from None

    def _write(self, event_type):
        with self._path.open("a") as file:
            file.write(event_type + "\n")


@asynccontextmanager
async def _open(settings, context):
    if settings.gate is not None and not settings.gate.exists():
        raise ConnectionRefusedError("the broker is down")
    context.log.info("diary.open", path=settings.path.name)
    yield Diary(settings.path)


PLUGIN = Plugin(settings=Settings, events=("*",), open=_open)
