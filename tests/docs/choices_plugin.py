"""Keeps every choice of a checkpoint in a file, one event a line."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tunewatch.plugin import Plugin, Retry


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: Path


class Choices:
    def __init__(self, path):
        self.path = path

    async def deliver(self, delivery):
        try:  # in a thread: the loop is shared by all plugins
            await asyncio.to_thread(self._append, delivery.body + b"\n")
        except OSError as error:  # it is tried again until it works
            raise Retry(f"cannot append: {error.strerror}") from None

    def _append(self, line):
        with self.path.open("ab") as file:
            file.write(line)


@asynccontextmanager
async def open_choices(settings, context):
    yield Choices(settings.path)


PLUGIN = Plugin(settings=Settings, events=("@selection",), open=open_choices)
