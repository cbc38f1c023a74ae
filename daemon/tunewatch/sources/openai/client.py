"""A source over the OpenAI client: one method, one request.

Takes from the client what it is good at (addresses, parameters, authentication) and
leaves its retries and models aside: waiting is the poller's to schedule and to see, and
bodies are decoded here. Budgets are not known either.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import httpx2
from openai import AsyncOpenAI, Omit, omit

import tunewatch
from tunewatch.model import Checkpoint, Entry, Job, MetricPoint
from tunewatch.sources.contract import (
    Missing,
    Page,
    RawJob,
    Refused,
    SourceContext,
    SourceFault,
)
from tunewatch.sources.openai.decode import (
    checkpoint_of,
    entry_of,
    identify,
    job_of,
)
from tunewatch.sources.openai.exchange import Answering, Exchange
from tunewatch.sources.openai.pages import raw_job, read_jobs, read_page
from tunewatch.sources.openai.result_file import ResultFile, read_result_file
from tunewatch.sources.openai.settings import OpenAISettings

AnswerT = TypeVar("AnswerT")
ItemT = TypeVar("ItemT")

TIMEOUT = 30.0
"""s for one request from its first byte to the answer's last."""

PAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of a list or a job; a page of 100 jobs has about 0.1 million."""

FILE_LIMIT = 64 * 1024 * 1024
"""Bytes of a result file as it is sent; 10,000 steps have about 0.5 million."""

USER_AGENT = f"tunewatch/{tunewatch.__version__}"


class _Client(AsyncOpenAI):
    """The client without what it takes from the environment or tells of the machine."""

    @property
    def default_headers(self) -> dict[str, str | Omit]:
        """Return the headers of every request, the key's aside."""
        return {
            "Accept": "application/json",
            "User-Agent": USER_AGENT,
            "OpenAI-Organization": self.organization or omit,
            "OpenAI-Project": self.project or omit,
        }


class OpenAISource:
    """One key's view of OpenAI, or of an API with the same surface."""

    def __init__(
        self,
        settings: OpenAISettings,
        context: SourceContext,
        *,
        timeout: float = TIMEOUT,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(context.http, httpx2.AsyncClient):
            raise TypeError(
                "the context's http must come from sources.http.shared_http"
            )
        self._context = context
        self._origin = settings.origin
        self._timeout = timeout
        self._now = now
        self._key: str | None = None
        self._client = _Client(
            api_key=self._fresh_key,
            base_url=settings.base_url,
            http_client=context.http,
            max_retries=0,
            timeout=timeout,
        )
        # Set here, because the client would fill a None from the environment.
        self._client.organization = settings.organization
        self._client.project = settings.project
        jobs = self._client.fine_tuning.jobs
        self._jobs = jobs.with_streaming_response
        self._checkpoints = jobs.checkpoints.with_streaming_response
        self._files = self._client.files.with_streaming_response

    @property
    def name(self) -> str:
        """The name of the source in the configuration."""
        return self._context.name

    @property
    def realm(self) -> str:
        """Where its jobs live: `openai:` and the API's origin."""
        return f"openai:{self._origin}"

    async def list_jobs(self, *, after: str | None, limit: int) -> Page[RawJob]:
        """Return jobs, newest first."""
        request = self._jobs.list(after=after or omit, limit=limit)
        read = partial(read_jobs, after=after, limit=limit)
        return await self._page("jobs", request, read)

    async def retrieve_job(self, job_id: str) -> RawJob:
        """Return one job as it is now."""
        request = self._jobs.retrieve(_segment(job_id))
        return await self._ask("job", request, _one_job)

    async def list_entries(
        self, job_id: str, *, after: str | None, limit: int
    ) -> Page[Entry]:
        """Return a job's events, newest first."""
        request = self._jobs.list_events(
            _segment(job_id), after=after or omit, limit=limit
        )
        read = partial(read_page, read=entry_of, after=after, limit=limit)
        return await self._page("events", request, read)

    async def list_checkpoints(
        self, job_id: str, *, after: str | None, limit: int
    ) -> Page[Checkpoint]:
        """Return a job's checkpoints, newest first."""
        request = self._checkpoints.list(
            _segment(job_id), after=after or omit, limit=limit
        )
        read = partial(read_page, read=checkpoint_of, after=after, limit=limit)
        return await self._page("checkpoints", request, read)

    async def result_points(self, file_id: str) -> tuple[MetricPoint, ...]:
        """Return the points of a result file, by step."""
        request = self._files.content(_segment(file_id))
        found = await self._ask(
            "file", request, read_result_file, limit=FILE_LIMIT, malformed=_bad_rows
        )
        return found.points

    def identify(self, raw: bytes) -> str:
        """Return the id of a raw job without decoding the rest. Raises Unreadable."""
        return identify(raw)

    def decode(self, raw: bytes) -> Job:
        """Return the job of a raw item. Pure. Raises Unreadable."""
        return job_of(raw)

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
        exchange = Exchange(
            endpoint=endpoint,
            origin=self._origin,
            key=lambda: self._key,
            timeout=self._timeout,
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

    async def _fresh_key(self) -> str:
        """Return the key as it is now: asked by the client for every request.

        Raises Refused if there is none, or none that could be sent: an odd character
        would come back inside the exception that refuses it.
        """
        try:
            key = (self._context.secret() or "").strip()
        except OSError as error:
            raise Refused(f"the key cannot be read: {error.strerror}") from None
        if not key:
            raise Refused("there is no key: set api_key_env or api_key_file")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise Refused("the key has characters that no key has: look at its file")
        self._key = key
        return key


def _segment(identifier: str) -> str:
    """Return an id that can stand in a path; raise Missing for one that cannot be."""
    if identifier.strip(".") == "":
        raise Missing("an id of dots alone names nothing")
    return identifier


def _one_job(body: bytes) -> RawJob:
    identify(body)
    return raw_job(body.strip())


def _bad_items(page: Page[ItemT]) -> int:
    return page.malformed


def _bad_rows(found: ResultFile) -> int:
    return found.malformed
