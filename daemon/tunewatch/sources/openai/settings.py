"""The settings that only this kind of source has.

Keys, intervals and the realm belong to every source and are not known here. Messages
never echo a value: a URL may hold a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from tunewatch.sources.urls import one_spelling, origin_of, split_url

_AZURE = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
DEFAULT_BASE_URL = "https://api.openai.com/v1"


def _base_url(value: str) -> str:
    return one_spelling(split_url(value, such_as=DEFAULT_BASE_URL))


HeaderValue = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,256}$")]
"""What may stand in a header: printable ASCII without spaces."""


class OpenAISettings(BaseModel):
    """Where the API is and for whom to ask."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    base_url: Annotated[str, AfterValidator(_base_url)] = DEFAULT_BASE_URL
    """The API with its version, as the provider's SDK wants it."""

    organization: HeaderValue | None = None
    """Sent as OpenAI-Organization; only for keys that belong to several."""

    project: HeaderValue | None = None
    """Sent as OpenAI-Project: jobs belong to a project."""

    @property
    def origin(self) -> str:
        """The API's origin: scheme, host and port."""
        return origin_of(urlsplit(self.base_url))

    def doubts(self) -> Iterator[tuple[str, str]]:
        """Yield what is probably a slip: a key, and what is odd about its value."""
        host = urlsplit(self.base_url).hostname or ""
        if host.endswith(_AZURE):
            text = f'{host} is Azure, which wants kind = "azure" and endpoint instead'
            yield "base_url", text
