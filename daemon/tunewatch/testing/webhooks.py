"""The provider's own webhooks: signed, thin, sent when a job ends, repeated until 2xx.

Watches a simulated API from outside and tells a URL. Knows nothing of who listens.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn

import aiohttp

from tunewatch.testing import ids
from tunewatch.testing.api import SimulatedApi
from tunewatch.testing.served import ServedJob
from tunewatch.testing.signatures import signed

ENDINGS = ("succeeded", "failed", "cancelled")
"""The statuses that the provider tells of; it has no webhook for any other."""

_LOOK_EVERY = 0.02
_ANSWER_WITHIN = 5.0
_AGAIN_AFTER, _AGAIN_AT_MOST = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One try to tell of a job."""

    job_id: str
    webhook_id: str
    at: float  #: monotonic seconds, when it was sent
    status: int | None  #: what was answered; None: nothing


@dataclass(slots=True, kw_only=True)
class WebhookSender:
    """Tells a URL of each job that ends while `sending`, as the provider would.

    `project` names the project whose jobs are told, None tells of all. `secret` signs;
    it can be exchanged at any time.
    """

    api: SimulatedApi
    url: str
    secret: str
    project: str | None = None
    sent: list[Sent] = field(default_factory=list)

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send while open; jobs that ended before are not told."""
        told = {job.id for job, ending in self._jobs() if ending is not None}
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch(session, told), name="webhooks")
            yield
            watching.cancel()

    async def _watch(self, session: aiohttp.ClientSession, told: set[str]) -> NoReturn:
        async with asyncio.TaskGroup() as tasks:
            while True:
                for job, ending in self._jobs():
                    if ending is not None and job.id not in told:
                        told.add(job.id)
                        name = f"webhook:{job.id}"
                        telling = self._tell(session, job.id, ending)
                        tasks.create_task(telling, name=name)
                await asyncio.sleep(_LOOK_EVERY)

    def _jobs(self) -> Iterator[tuple[ServedJob, str | None]]:
        """Yield the jobs there are, each with how it ended if it did."""
        now = self.api.clock.now()
        for project in self.api.projects:
            if self.project in (None, project.name):
                jobs, count = project.jobs(now)
                for job in jobs[:count]:
                    status = job.fields(now).get("status")
                    yield job, status if status in ENDINGS else None

    async def _tell(
        self, session: aiohttp.ClientSession, job_id: str, ending: str
    ) -> None:
        """Tell of a job until somebody has heard it."""
        wait = _AGAIN_AFTER
        while True:
            status = await self._try(session, job_id, ending)
            if status is not None and 200 <= status < 300:
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, _AGAIN_AT_MOST)

    async def _try(
        self, session: aiohttp.ClientSession, job_id: str, ending: str
    ) -> int | None:
        """Make one try and return what was answered, None if nothing was."""
        webhook_id = f"wh_{ids.hexadecimal(self.api.seed, 'webhook', job_id)}"
        body = event(job_id, ending, at=self.api.clock.stamp(self.api.clock.now()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)",
            **signed(webhook_id, body, secret=self.secret, now=time.time()),
        }
        at, status = time.monotonic(), None
        with suppress(aiohttp.ClientError, TimeoutError):
            async with (
                asyncio.timeout(_ANSWER_WITHIN),
                session.post(
                    self.url, data=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                status = answer.status
        self.sent.append(Sent(job_id, webhook_id, at, status))
        return status


def event(job_id: str, ending: str, *, at: int) -> bytes:
    """Return the body of the webhook that tells how a job ended."""
    return json.dumps(
        {
            "object": "event",
            "id": f"evt_{ids.hexadecimal('event', job_id, ending)}",
            "type": f"fine_tuning.job.{ending}",
            "created_at": at,
            "data": {"id": job_id},
        },
        separators=(",", ":"),
    ).encode()
