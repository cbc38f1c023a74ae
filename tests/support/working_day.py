"""A working day: two projects, two receivers, a Prometheus, and five jobs that end.

Lets it happen up to the evening; what must be true of it is said by the tests.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import standardwebhooks
from aiohttp import web

from support.program import Program
from support.prometheus_server import Prometheus, prometheus_server
from support.receiver_server import Post, receiver
from support.running import QUICK, Running, configure, eventually, running
from tunewatch.testing import ServedJob, SimulatedApi

SECRET = "whsec_" + base64.b64encode(b"a receiver's secret of 32 bytes.").decode()
SPEED = 200.0  # simulated seconds per second
PROJECTS = {"research": "sk-research", "product": "sk-product"}

CONFIG = """
[source_defaults]
base_url = "{url}"
{quick}
[sources.research]
api_key_file = "{keys}/research"

[sources.product]
api_key_file = "{keys}/product"

[plugins.deployer]
kind = "webhook"
url = "{deployer}"
secret = "{secret}"
allow_hosts = ["127.0.0.1"]

[plugins.archive]
kind = "webhook"
url = "{archive}"
secret = "{secret}"
allow_hosts = ["127.0.0.1"]
events = ["*"]

[plugins.prometheus]
metadata_labels = ["team"]
"""


@dataclass
class Deployer:
    """A receiver that a stranger wrote for OpenAI's webhooks: the SDK and no more."""

    client: openai.OpenAI = field(
        default_factory=lambda: openai.OpenAI(api_key="none", webhook_secret=SECRET)
    )
    by_type: dict[str, list[Any]] = field(default_factory=dict)
    refused: int = 0

    def __call__(self, post: Post) -> web.StreamResponse:
        try:
            event = self.client.webhooks.unwrap(post.body.decode(), post.headers)
        except openai.InvalidWebhookSignatureError:
            self.refused += 1
            return web.Response(status=401)
        self.by_type.setdefault(event.type, []).append(event)
        return web.Response(status=204)

    def jobs(self, event_type: str) -> list[str]:
        return [event.data.id for event in self.by_type.get(event_type, [])]


@dataclass
class Archive:
    """Keeps every event that verifies, once per id, in the order of arrival."""

    verifier: standardwebhooks.Webhook = field(
        default_factory=lambda: standardwebhooks.Webhook(SECRET)
    )
    events: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, post: Post) -> web.StreamResponse:
        event = self.verifier.verify(post.body, post.headers)
        self.events.setdefault(event["id"], event)
        return web.Response(status=200)

    def of(self, job: str) -> list[dict[str, Any]]:
        return [one for one in self.events.values() if one["data"]["id"] == job]

    def types(self, job: str) -> list[str]:
        return [one["type"] for one in self.of(job)]


@dataclass
class Day:
    """All of it, at the end of the day."""

    daemon: Running
    prometheus: Prometheus
    deployer: Deployer
    archive: Archive
    jobs: dict[str, ServedJob]

    def id(self, name: str) -> str:
        return self.jobs[name].id


def fill(api: SimulatedApi) -> dict[str, ServedJob]:
    """Begin the day's jobs."""
    common = {"steps": 30, "validate_every": 5, "metadata": {"team": "search"}}
    return {
        "good": api.add_job(project="research", suffix="good", **common),
        "overfit": api.add_job(
            project="research", suffix="overfit", curve="overfit", **common
        ),
        "blind": api.add_job(
            project="product", suffix="blind", validation=False, **common
        ),
        "broken": api.add_job(
            project="product", suffix="broken", outcome="failed", **common
        ),
        "paused": api.add_job(
            project="product", suffix="paused", outcome="paused", at=0.8, **common
        ),
    }


@asynccontextmanager
async def working_day(home: Path) -> AsyncIterator[Day]:
    """Run all of it until every job has come to its end."""
    program = Program(home)
    (home / "keys").mkdir()
    for project, key in PROJECTS.items():
        (home / "keys" / project).write_text(f"{key}\n")
    api = SimulatedApi(time_scale=SPEED)
    for project, key in PROJECTS.items():
        api.add_key(key, project=project)
    deployer, archive = Deployer(), Archive()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        text = CONFIG.format(
            url=await enter(api.serve()),
            keys=home / "keys",
            quick=QUICK,
            deployer=(await enter(receiver(deployer))).url(),
            archive=(await enter(receiver(archive))).url(),
            secret=SECRET,
        )
        configure(program, text)
        daemon = await enter(running(program))
        (home / "prometheus").mkdir()
        prometheus = await enter(prometheus_server(daemon.port, home / "prometheus"))
        made = Day(daemon, prometheus, deployer, archive, fill(api))
        await eventually(lambda: is_evening(made), "every job came to its end")
        yield made


def is_evening(day: Day) -> bool:
    ended = ("good", "overfit", "blind", "broken")
    return all(
        "tunewatch.job.settled" in day.archive.types(day.id(name))
        and day.archive.types(day.id(name))[-1].startswith("tunewatch.checkpoint.")
        for name in ended
    ) and "fine_tuning.job.paused" in day.archive.types(day.id("paused"))
