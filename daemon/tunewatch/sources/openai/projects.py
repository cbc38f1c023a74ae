"""The projects of an OpenAI organisation, by an admin key.

Such a key can read no job: each project's jobs are read with a key of its own. One
method, one request, as for sources.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from openai import AsyncAPIResponse, omit

from tunewatch.deadline import Deadline
from tunewatch.sources.contract import (
    Page,
    Project,
    SourceContext,
    SourceFault,
)
from tunewatch.sources.openai.answer import Answer
from tunewatch.sources.openai.client import client_of
from tunewatch.sources.openai.credential import Credential
from tunewatch.sources.openai.decode import identify
from tunewatch.sources.openai.exchange import Exchange
from tunewatch.sources.openai.faults import Asked
from tunewatch.sources.openai.lenient import read_object, text
from tunewatch.sources.openai.pages import read_page
from tunewatch.sources.openai.settings import OpenAISettings
from tunewatch.sources.openai.surface import PAGE_LIMIT, TIMEOUT

_ADVICE = {
    401: "the admin key is refused: check admin_key_file, and that it is an admin key",
    403: "the admin key may not do this: it needs to read the organisation's projects",
}
_LONGEST_TITLE = 200


class OpenAIProjects:
    """One admin key's view of an organisation."""

    def __init__(
        self,
        settings: OpenAISettings,
        context: SourceContext,
        *,
        timeout: float = TIMEOUT,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._context = context
        self._asked = Asked("projects", settings.origin, advice=_ADVICE)
        self._deadline = Deadline(timeout)
        self._now = now
        self._key = Credential.of(
            context.secret, noun="admin key", where="admin_key_file or admin_key_env"
        )
        self._client = client_of(
            settings,
            context,
            timeout=timeout,
            project=None,
            api_key="none",
            admin_api_key="none",
        )
        projects = self._client.admin.organization.projects
        self._list = projects.with_streaming_response.list

    async def list_projects(self, *, after: str | None, limit: int) -> Page[Project]:
        """Return projects, archived ones too."""
        # The client asks for an API key anew at each request, but not for this one.
        self._client.admin_api_key = await self._key()
        asked = self._list(after=after or omit, limit=limit, include_archived=True)
        request = _unread(asked)
        exchange = Exchange(
            asked=self._asked,
            key=lambda: self._key.last,
            deadline=self._deadline,
            limit=PAGE_LIMIT,
            now=self._now,
        )
        read = partial(read_page, read=_project_of, after=after, limit=limit)
        answer = await exchange.answer(request, read)
        if isinstance(answer, SourceFault):
            self._context.observe(exchange.call(type(answer).__name__.lower()))
            raise answer
        exchange.malformed = answer.malformed
        self._context.observe(exchange.call("ok"))
        return answer


@asynccontextmanager
async def _unread(
    asked: AbstractAsyncContextManager[AsyncAPIResponse[Any]],
) -> AsyncIterator[Answer]:
    async with asked as answer:
        yield Answer.of(answer.http_response)


def _project_of(raw: bytes) -> Project:
    """Return the project of a raw item. Raises Unreadable if it has no id."""
    said = read_object(raw)
    return Project(
        id=identify(raw),
        title=(text(said.get("name")) or "")[:_LONGEST_TITLE],
        is_archived=said.get("status") == "archived" or bool(said.get("archived_at")),
    )
