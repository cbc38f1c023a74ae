"""Azure OpenAI and Foundry, as a kind of source.

Naming the kind and checking its settings costs nothing: the client is imported when a
source is opened, and what Entra ID needs only by those who sign in with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tunewatch.sources.azure.settings import AzureSettings
from tunewatch.sources.contract import Source, SourceContext, SourceKind


@asynccontextmanager
async def open_source(
    settings: AzureSettings, context: SourceContext
) -> AsyncIterator[Source]:
    """Open a source. The HTTP client is lent; only an identity is closed at the end."""
    from tunewatch.sources.azure.client import AzureSource
    from tunewatch.sources.azure.entra import signed_in

    async with signed_in(settings) as token:
        yield AzureSource(settings, context, token, now=context.now)


SOURCE = SourceKind(settings=AzureSettings, open=open_source)
"""What the entry point `azure` names."""

__all__ = ["SOURCE", "AzureSettings", "open_source"]
