"""An Azure source that is open, in front of whatever server a test names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from support.scripted_api import KEY, Watched
from tunewatch.settings import Secret
from tunewatch.sources.azure import AzureSettings
from tunewatch.sources.azure.client import AzureSource
from tunewatch.sources.azure.entra import signed_in
from tunewatch.sources.contract import Call, SourceContext
from tunewatch.sources.http import shared_http

CLASSIC = "2024-10-21"
"""A version that is asked below /openai."""


@asynccontextmanager
async def azure_at(
    endpoint: str,
    *,
    key: Any = lambda: KEY,
    http: object = None,
    timeout: float = 10.0,
    **settings: Any,
) -> AsyncIterator[Watched]:
    """Open a source; without a word of Entra it signs in with the key."""
    calls: list[Call] = []
    if not settings.keys() & {"entra", "entra_token"}:
        settings["api_key"] = Secret(key, "the test")
    given = AzureSettings(endpoint=endpoint, **settings)
    async with AsyncExitStack() as stack:
        client = http or await stack.enter_async_context(shared_http())
        context = SourceContext(
            name="research", secret=key, observe=calls.append, http=client
        )
        token = await stack.enter_async_context(signed_in(given))
        yield Watched(AzureSource(given, context, token, timeout=timeout), calls)
