"""A source over a client of the OpenAI SDK: one method, one request.

Takes from the client what it is good at (authentication, headers, its transport) and
leaves its retries and models aside: waiting is the poller's to schedule and to see, and
bodies are decoded here. Budgets are not known either, nor which provider answers: what
differs comes in as a dialect.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from urllib.parse import quote

import httpx2
from openai import AsyncOpenAI

import tunewatch
from tunewatch.deadline import Deadline
from tunewatch.model import Checkpoint, Entry, Job, MetricPoint
from tunewatch.sources.contract import (
    Missing,
    Page,
    RawJob,
    SourceContext,
    SourceFault,
)
from tunewatch.sources.openai.credential import Credential
from tunewatch.sources.openai.decode import checkpoint_of, identify
from tunewatch.sources.openai.dialect import Dialect
from tunewatch.sources.openai.exchange import Answering, Exchange
from tunewatch.sources.openai.faults import Asked
from tunewatch.sources.openai.pages import raw_job, read_jobs, read_late, read_page
from tunewatch.sources.openai.requests import Requests
from tunewatch.sources.openai.result_file import ResultFile, read_result_file

AnswerT = TypeVar("AnswerT")
ItemT = TypeVar("ItemT")

_JOBS = "/fine_tuning/jobs"

TIMEOUT = 30.0
"""s for one request from its first byte to the answer's last."""

PAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of a list or a job; a page of 100 jobs has about 0.1 million."""

FILE_LIMIT = 64 * 1024 * 1024
"""Bytes of a result file as it is sent; 10,000 steps have about 0.5 million."""

USER_AGENT = f"tunewatch/{tunewatch.__version__}"


def lent_http(context: SourceContext) -> httpx2.AsyncClient:
    """Return the HTTP client that a source is lent. Raises TypeError for another."""
    if not isinstance(context.http, httpx2.AsyncClient):
        raise TypeError("the context's http must come from sources.http.shared_http")
    return context.http


class Surface:
    """One key's view of an API with `/fine_tuning/jobs`."""

    def __init__(
        self,
        client: AsyncOpenAI,
        context: SourceContext,
        *,
        dialect: Dialect,
        origin: str,
        credential: Credential,
        timeout: float = TIMEOUT,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._context = context
        self._dialect = dialect
        self._origin = origin
        self._credential = credential
        self._deadline = Deadline(timeout)
        self._now = now
        self._requests = Requests(client, lent_http(context), credential)

    @property
    def name(self) -> str:
        """The name of the source in the configuration."""
        return self._context.name

    @property
    def realm(self) -> str:
        """Where its jobs live: the provider and the API's origin."""
        return f"{self._dialect.provider}:{self._origin}"

    @property
    def files_grow(self) -> bool:
        """Whether result files are named early: see `contract.files_grow`."""
        return self._dialect.files_grow

    async def list_jobs(self, *, after: str | None, limit: int) -> Page[RawJob]:
        """Return jobs, newest first."""
        request = self._requests.get(_JOBS, _paging(after, limit))
        read = partial(read_jobs, after=after, limit=limit)
        return await self._page("jobs", request, read)

    async def retrieve_job(self, job_id: str) -> RawJob:
        """Return one job as it is now."""
        request = self._requests.get(_job(job_id), {})
        return await self._ask("job", request, _one_job)

    async def list_entries(
        self, job_id: str, *, after: str | None, limit: int
    ) -> Page[Entry]:
        """Return a job's events, newest first."""
        path = f"{_job(job_id)}/events"
        request = self._requests.get(path, _paging(after, limit))
        entry_of = self._dialect.entry_of
        read = partial(read_late, read=entry_of, after=after, limit=limit)
        return await self._page("events", request, read)

    async def list_checkpoints(
        self, job_id: str, *, after: str | None, limit: int
    ) -> Page[Checkpoint]:
        """Return a job's checkpoints, newest first."""
        path = f"{_job(job_id)}/checkpoints"
        request = self._requests.get(path, _paging(after, limit))
        read = partial(read_page, read=checkpoint_of, after=after, limit=limit)
        return await self._page("checkpoints", request, read)

    async def result_points(self, file_id: str) -> tuple[MetricPoint, ...]:
        """Return the points of a result file, by step."""
        path = f"/files/{_segment(file_id)}/content"
        request = self._requests.get(path, {}, accept="application/binary")
        found = await self._ask(
            "file", request, read_result_file, limit=FILE_LIMIT, malformed=_bad_rows
        )
        return found.points

    def identify(self, raw: bytes) -> str:
        """Return the id of a raw job without decoding the rest. Raises Unreadable."""
        return identify(raw)

    def decode(self, raw: bytes) -> Job:
        """Return the job of a raw item. Pure. Raises Unreadable."""
        return self._dialect.job_of(raw)

    async def _page(
        self, endpoint: str, request: Answering, read: Callable[[bytes], Page[ItemT]]
    ) -> Page[ItemT]:
        return await self._ask(endpoint, request, read, malformed=_bad_items)

    async def _ask(
        self,
        endpoint: str,
        request: Answering,
        read: Callable[[bytes], AnswerT],
        *,
        limit: int = PAGE_LIMIT,
        malformed: Callable[[AnswerT], int] = lambda _: 0,
    ) -> AnswerT:
        """Make one request, tell of it, and return what `read` makes of its body."""
        dialect = self._dialect
        exchange = Exchange(
            asked=Asked(endpoint, self._origin, dialect.address, dialect.advice),
            key=lambda: self._credential.last,
            deadline=self._deadline,
            limit=limit,
            now=self._now,
        )
        answer = await exchange.answer(request, read)
        if isinstance(answer, SourceFault):
            self._context.observe(exchange.call(type(answer).__name__.lower()))
            raise answer
        exchange.malformed = malformed(answer)
        self._context.observe(exchange.call("ok"))
        return answer


def _job(job_id: str) -> str:
    return f"{_JOBS}/{_segment(job_id)}"


def _segment(identifier: str) -> str:
    """Return an id as a part of a path; raise Missing for one that cannot be."""
    if identifier.strip(".") == "":
        raise Missing("an id of dots alone names nothing")
    return quote(identifier, safe="")


def _paging(after: str | None, limit: int) -> dict[str, str | int]:
    return {"limit": limit} if after is None else {"after": after, "limit": limit}


def _one_job(body: bytes) -> RawJob:
    identify(body)
    return raw_job(body.strip())


def _bad_items(page: Page[ItemT]) -> int:
    return page.malformed


def _bad_rows(found: ResultFile) -> int:
    return found.malformed
