"""Tokens of Entra ID, as the SDK's Azure client asks for them at every request.

Either somebody else keeps one fresh in a file, or the package azure-identity signs in
and caches. Its failures are translated here, and nowhere else is it known.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tunewatch.sources.azure.settings import AzureSettings
from tunewatch.sources.contract import Refused, Unavailable
from tunewatch.sources.openai.credential import Credential
from tunewatch.sources.openai.redaction import redacted

Ask = Callable[[], Awaitable[str]]

_WAY = re.compile(r"^\s*([A-Z][A-Za-z ]+) Credential: (.*)$", re.MULTILINE)
_CLASS = re.compile(r"\b[A-Z][A-Za-z]+Credential\b")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
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

    # It warns of every way that fails at every try: the fault says it all.
    logging.getLogger("azure").setLevel(logging.ERROR)
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
    """Return what went wrong; of several ways that were tried, only which."""
    text = _spaced(str(error))
    ways = _WAY.findall(text)
    if len(ways) > 1:
        names = ", ".join(way.lower() for way, _ in ways)
        return (
            f"none of its ways works here ({names}); name the right one in "
            "AZURE_TOKEN_CREDENTIALS, and it says why"
        )
    first = ways[0][1] if ways else text.strip().partition("\n")[0]
    return redacted(first) or type(error).__name__


def _spaced(text: str) -> str:
    """Return a text with its classes in words: as one they look like secrets."""
    return _CLASS.sub(lambda name: _HUMP.sub(" ", name[0]), text)
