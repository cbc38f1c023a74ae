"""Tokens of Entra ID, as the SDK's Azure client asks for them at every request.

Either somebody else keeps one fresh in a file, or the package azure-identity signs in
and caches. Its failures are translated here, and nowhere else is it known.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tunewatch.sources.azure.settings import AzureSettings
from tunewatch.sources.contract import Refused, Unavailable
from tunewatch.sources.openai.credential import Credential
from tunewatch.sources.openai.redaction import redacted

Ask = Callable[[], Awaitable[str]]

_WORDS = {"noun": "token", "where": "entra_token_file"}


@asynccontextmanager
async def signed_in(settings: AzureSettings) -> AsyncIterator[Credential | None]:
    """Lend where tokens come from, None for those who use a key."""
    if settings.entra_token is not None:
        yield Credential.of(settings.entra_token.get, **_WORDS)
    elif settings.entra:
        async with _identity(settings.scope) as ask:
            yield Credential(ask, **_WORDS)
    else:
        yield None


@asynccontextmanager
async def _identity(scope: str) -> AsyncIterator[Ask]:
    """Sign in as the environment says: what answers first of azure-identity's ways."""
    from azure.core.exceptions import AzureError, ClientAuthenticationError
    from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

    async with DefaultAzureCredential() as credential:
        provider = get_bearer_token_provider(credential, scope)

        async def ask() -> str:
            try:
                return await provider()
            except ClientAuthenticationError as error:
                reason = f"Entra ID gives no token: {_in_short(error)}"
                fault: Refused | Unavailable = Refused(reason)
            except AzureError as error:
                fault = Unavailable(f"Entra ID does not answer: {_in_short(error)}")
            # Outside of the handlers: what the library raises may hold an answer.
            raise fault

        yield ask


def _in_short(error: Exception) -> str:
    """Return the first thing that went wrong: the library tells of all its ways."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return redacted(" ".join(lines[:3])) or type(error).__name__
