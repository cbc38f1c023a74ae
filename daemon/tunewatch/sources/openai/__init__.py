"""OpenAI and every API with the same surface, as a kind of source.

Naming the kind and checking its settings costs nothing: the client is imported when a
source is opened.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tunewatch.sources.contract import (
    Organizing,
    Projects,
    Source,
    SourceContext,
    SourceKind,
)
from tunewatch.sources.openai.settings import OpenAISettings
from tunewatch.sources.openai.webhooks import WEBHOOKS

_PROJECT = re.compile(r"proj_[A-Za-z0-9_-]+")


@asynccontextmanager
async def open_source(
    settings: OpenAISettings, context: SourceContext
) -> AsyncIterator[Source]:
    """Open a source. It closes nothing: the HTTP client is lent."""
    from tunewatch.sources.openai.client import OpenAISource

    yield OpenAISource(settings, context, now=context.now)


@asynccontextmanager
async def open_projects(
    settings: OpenAISettings, context: SourceContext
) -> AsyncIterator[Projects]:
    """Open a view of an organisation. It closes nothing: the HTTP client is lent."""
    from tunewatch.sources.openai.projects import OpenAIProjects

    yield OpenAIProjects(settings, context, now=context.now)


def is_project(name: str) -> bool:
    """Whether a text may be the id of a project."""
    return _PROJECT.fullmatch(name) is not None


SOURCE = SourceKind(
    settings=OpenAISettings,
    open=open_source,
    webhooks=WEBHOOKS,
    organizing=Organizing(open=open_projects, is_project=is_project),
)
"""What the entry point `openai` names."""

__all__ = ["SOURCE", "OpenAISettings", "open_source"]
