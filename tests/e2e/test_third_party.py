"""A stranger's package with a source and plugins, installed beside tunewatch."""

from __future__ import annotations

import json

import pytest

from support.distribution import write_package
from support.program import Program
from support.running import QUICK, Running, configure, ended, eventually, running

TRAINER = '''
"""A source that reads a trainer's own state file: no URL, no key."""

import hashlib
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import msgspec
from pydantic import BaseModel, ConfigDict

from tunewatch.model import Entry, Job, MetricPoint
from tunewatch.sources.contract import (
    Missing, Page, RawJob, SourceKind, Unavailable, Unreadable,
)


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    needs_key: ClassVar[bool] = False
    path: Path


class Trainer:
    def __init__(self, name, path):
        self.name = name
        self.realm = "trainer:" + str(path)
        self._path = path

    def _jobs(self):
        try:
            return json.loads(self._path.read_text())
        except OSError as error:
            raise Unavailable("the state file is away") from error

    async def list_jobs(self, *, after, limit):
        items = tuple(self._raw(job) for job in self._jobs())
        return Page(items=items, cursor=None, count=len(items))

    async def retrieve_job(self, job_id):
        for job in self._jobs():
            if job["id"] == job_id:
                return self._raw(job)
        raise Missing("no such job")

    async def list_entries(self, job_id, *, after, limit):
        [job] = [job for job in self._jobs() if job["id"] == job_id]
        entries = tuple(
            Entry(id=f"{job_id}-{step}", created_at=job["created_at"] + step,
                  point=MetricPoint(step=step, values={"train_loss": loss}))
            for step, loss in reversed(list(enumerate(job["extra"]["losses"], 1)))
        )
        return Page(items=entries, cursor=None, count=len(entries))

    async def list_checkpoints(self, job_id, *, after, limit):
        return Page(items=(), cursor=None)

    async def result_points(self, file_id):
        raise Missing("there are none")

    def identify(self, raw):
        return self.decode(raw).id

    def decode(self, raw):
        try:
            return msgspec.json.decode(raw, type=Job)
        except msgspec.MsgspecError as error:
            raise Unreadable(str(error)) from error

    def _raw(self, job):
        raw = json.dumps(job).encode()
        return RawJob(raw=raw, digest=hashlib.md5(raw).digest())


@asynccontextmanager
async def _open(settings, context):
    yield Trainer(context.name, settings.path)


SOURCE = SourceKind(settings=Settings, open=_open)
'''

DIARY = '''
"""A sink that writes event types into a file; it opens once a gate file is there."""

from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tunewatch.plugin import Plugin


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    path: Path
    gate: Path | None = None


class Diary:
    def __init__(self, path):
        self._path = path

    async def deliver(self, delivery):
        with self._path.open("a") as file:
            file.write(delivery.event.type + "\\n")


@asynccontextmanager
async def _open(settings, context):
    if settings.gate is not None and not settings.gate.exists():
        raise ConnectionRefusedError("the broker is down")
    context.log.info("diary.open", path=settings.path.name)
    yield Diary(settings.path)


PLUGIN = Plugin(settings=Settings, events=("*",), open=_open)
'''


@pytest.fixture
def program(tmp_path):
    site = write_package(
        tmp_path,
        "acme-tunewatch",
        {
            "tunewatch.sources": {"trainer": "acme_trainer:SOURCE"},
            "tunewatch.plugins": {
                "diary": "acme_diary:PLUGIN",
                "hollow": "acme_hollow:PLUGIN",
            },
        },
        {"acme_trainer": TRAINER, "acme_diary": DIARY, "acme_hollow": "import nowhere"},
    )
    return Program(tmp_path, sites=(site,))


def train(program: Program, status: str, *losses: float) -> None:
    job = {
        "id": "run-1",
        "status": status,
        "created_at": 1_790_000_000,
        "extra": {"losses": losses},
    }
    (program.directory / "state.json").write_text(json.dumps([job]))


def settings(program: Program, plugins: str) -> None:
    source = f'[sources.cluster]\nkind = "trainer"\npath = "{program.directory}/'
    configure(program, f'{source}state.json"\n{QUICK}{plugins}')


def diary(program: Program, name: str = "diary") -> list[str]:
    path = program.directory / f"{name}.txt"
    return path.read_text().splitlines() if path.exists() else []


async def state_of(daemon: Running, plugin: str) -> str:
    found: str = (await daemon.part("plugins", plugin))["state"]
    return found


async def test_a_stranger_s_source_and_sink_work_by_their_entry_points(program):
    settings(program, f'[plugins.diary]\npath = "{program.directory}/diary.txt"\n')
    train(program, "running", 2.5)
    async with running(program) as daemon:
        await eventually(
            lambda: "fine_tuning.event.metrics" in diary(program), "metrics are told"
        )
        train(program, "succeeded", 2.5, 2.0)
        await eventually(
            lambda: "fine_tuning.job.succeeded" in diary(program), "the end is told"
        )
        assert daemon.log("diary.open")[0]["plugin"] == "diary"
        plugins = json.loads((await daemon.cli("plugins", "-o", "json")).out)
        assert {"diary", "hollow", "webhook"} <= set(plugins["installed"])
        (program.directory / "state.json").unlink()
        trouble = await daemon.logged("source.trouble", source="cluster")
        assert trouble["reason"] == "the state file is away"
        assert await daemon.stop() == 0
    told = diary(program)
    assert told[0] == "tunewatch.job.discovered"
    assert told.count("fine_tuning.job.running") == 1


async def test_a_plugin_that_does_not_open_degrades_alone_and_is_tried_again(program):
    gate = program.directory / "gate"
    settings(
        program,
        f'[plugins.diary]\npath = "{program.directory}/diary.txt"\n'
        f'[plugins.late]\nkind = "diary"\npath = "{program.directory}/late.txt"\n'
        f'gate = "{gate}"\n',
    )
    train(program, "running", 2.5)
    async with running(program) as daemon:
        refused = await daemon.logged("plugin.does_not_open", plugin="late")
        assert "the broker is down" in refused["reason"]
        await eventually(
            lambda: "fine_tuning.event.metrics" in diary(program), "the other goes on"
        )
        late = await daemon.part("plugins", "late")
        assert late["state"] == "probing"
        assert "the broker is down" in late["reason"]
        assert (await daemon.ready())[0] == 200
        assert await state_of(daemon, "diary") == "up"
        gate.touch()
        await daemon.logged("plugin.opened", plugin="late")
        await eventually(
            lambda: diary(program, "late") == diary(program), "it catches up"
        )
        assert await state_of(daemon, "late") == "up"
        assert len(daemon.log("plugin.does_not_open")) == 1
        assert await daemon.stop() == 0


@pytest.mark.parametrize(
    ("plugins", "named"),
    [
        ('[plugins.diary]\npath = "x"\npaht = "y"\n', "plugins.diary.paht"),
        ("[plugins.diary]\n", "plugins.diary.path"),
        ("[plugins.hollow]\n", "nowhere"),
    ],
)
async def test_settings_or_an_import_that_are_wrong_stop_the_start(
    program, plugins, named
):
    settings(program, plugins)
    done = await ended(program, "run")
    assert done.code == 2
    assert named in done.err
    assert "Traceback" not in done.err
