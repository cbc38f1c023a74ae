"""OpenAI's client, and the source over it.

Everything but how the client is made and signs in is `surface`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from openai import AsyncOpenAI, Omit, omit

from tunewatch.sources.contract import SourceContext
from tunewatch.sources.openai.credential import Credential
from tunewatch.sources.openai.dialect import OPENAI
from tunewatch.sources.openai.settings import OpenAISettings
from tunewatch.sources.openai.surface import TIMEOUT, USER_AGENT, Surface, lent_http


class Client(AsyncOpenAI):
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


def client_of(
    settings: OpenAISettings,
    context: SourceContext,
    *,
    timeout: float,
    project: str | None,
    **keys: Any,
) -> Client:
    """Return a client that shares its connections and tries nothing again."""
    client = Client(
        **keys,
        base_url=settings.base_url,
        http_client=lent_http(context),
        max_retries=0,
        timeout=timeout,
    )
    # Set here, because the client would fill a None from the environment.
    client.organization = settings.organization
    client.project = project
    return client


class OpenAISource(Surface):
    """One key's view of OpenAI, or of an API with the same surface."""

    def __init__(
        self,
        settings: OpenAISettings,
        context: SourceContext,
        *,
        timeout: float = TIMEOUT,
        now: Callable[[], float] = time.time,
    ) -> None:
        credential = Credential.of(context.secret)
        client = client_of(
            settings,
            context,
            timeout=timeout,
            project=settings.project,
            api_key=credential.asked,
        )
        super().__init__(
            client,
            context,
            dialect=OPENAI,
            origin=settings.origin,
            credential=credential,
            timeout=timeout,
            now=now,
        )
