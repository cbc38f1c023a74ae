"""Watches a trainer's own state file: a list of runs, each with its losses."""

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from tunewatch.model import Entry, Job, MetricPoint
from tunewatch.sources.contract import (
    Missing,
    Page,
    RawJob,
    SourceKind,
    Unavailable,
    Unreadable,
)


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    needs_key: ClassVar[bool] = False  # else a source without api_key is refused
    path: Path


class Trainer:
    def __init__(self, settings, context):
        self.name, self.path = context.name, settings.path
        self.realm = f"trainer:{settings.path}"

    async def list_jobs(self, *, after, limit):
        runs = await self._runs()
        items = tuple(raw_job(run) for run in reversed(runs))  # newest first
        return Page(items=items, cursor=None, count=len(items))

    async def retrieve_job(self, job_id):
        return raw_job(await self._run(job_id))

    async def list_entries(self, job_id, *, after, limit):
        losses = (await self._run(job_id))["losses"]
        points = [
            Entry(
                id=f"{job_id}-{step}",
                created_at=0,  # the trainer does not say when
                point=MetricPoint(step=step, values={"train_loss": loss}),
            )
            for step, loss in enumerate(losses, start=1)
        ]
        return Page(items=tuple(reversed(points)), cursor=None, count=len(points))

    async def list_checkpoints(self, job_id, *, after, limit):
        return Page(items=(), cursor=None)

    async def result_points(self, file_id):
        raise Missing("this trainer writes no result files")

    def identify(self, raw):
        return self.decode(raw).id

    def decode(self, raw):
        run = json.loads(raw)
        if not isinstance(run, dict) or not {"id", "status"} <= run.keys():
            raise Unreadable("a run has no id or no status")
        said = {name: run.get(name) for name in ("created_at", "finished_at", "model")}
        return Job(id=run["id"], status=run["status"], **said)

    async def _runs(self):
        try:  # in a thread: the loop is shared by all sources
            return json.loads(await asyncio.to_thread(self.path.read_text))
        except OSError as error:
            raise Unavailable(f"cannot read the state file: {error.strerror}") from None
        except ValueError:
            raise Unreadable("the state file is no JSON, or half written") from None

    async def _run(self, job_id):
        found = [run for run in await self._runs() if run["id"] == job_id]
        if not found:
            raise Missing("the state file has no such run")
        return found[0]


def raw_job(run):
    raw = json.dumps(run, sort_keys=True).encode()
    return RawJob(raw=raw, digest=hashlib.blake2b(raw, digest_size=16).digest())


@asynccontextmanager
async def open_trainer(settings, context):
    yield Trainer(settings, context)


SOURCE = SourceKind(settings=Settings, open=open_trainer)
