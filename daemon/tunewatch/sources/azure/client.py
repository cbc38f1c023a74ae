"""Azure's client of the SDK, and the source over it.

Everything but how the client is made and signs in is `openai.surface`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from openai import AsyncAzureOpenAI, Omit

from tunewatch.sources.azure.dialect import AZURE
from tunewatch.sources.azure.settings import AzureSettings
from tunewatch.sources.contract import SourceContext
from tunewatch.sources.openai.credential import Credential
from tunewatch.sources.openai.surface import TIMEOUT, USER_AGENT, Surface, lent_http


class _Client(AsyncAzureOpenAI):
    """The client without what it takes from the environment or tells of the machine."""

    asks: dict[str, object]  #: what every request asks beside its own

    @property
    def default_headers(self) -> dict[str, str | Omit]:
        """Return the headers of every request, the key's aside."""
        return {"Accept": "application/json", "User-Agent": USER_AGENT}

    @property
    def default_query(self) -> dict[str, object]:
        """Return the version, if there is one: /openai/v1 needs none."""
        return self.asks


class AzureSource(Surface):
    """One key's or identity's view of an Azure resource."""

    def __init__(
        self,
        settings: AzureSettings,
        context: SourceContext,
        token: Credential | None = None,
        *,
        timeout: float = TIMEOUT,
        now: Callable[[], float] = time.time,
    ) -> None:
        credential = Credential.of(context.secret) if token is None else token
        client = _Client(
            base_url=settings.base_url,
            # Not None, or the client would look for one in the environment.
            api_version=settings.api_version or "v1",
            api_key=credential.asked if token is None else None,
            azure_ad_token_provider=None if token is None else token.asked,
            http_client=lent_http(context),
            max_retries=0,
            timeout=timeout,
        )
        client.asks = settings.query
        super().__init__(
            client,
            context,
            dialect=AZURE,
            origin=settings.origin,
            credential=credential,
            timeout=timeout,
            now=now,
        )
