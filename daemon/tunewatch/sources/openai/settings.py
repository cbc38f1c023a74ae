"""The settings that only this kind of source has.

Keys, intervals and the realm belong to every source and are not known here. Messages
never echo a value: a URL may hold a password.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

DEFAULT_BASE_URL = "https://api.openai.com/v1"

_PORTS = {"http": 80, "https": 443}
# A label of another length cannot be looked up at all.
_HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*|[0-9a-f:.]*:[0-9a-f:.]*")


def _split(url: str) -> SplitResult:
    """Return the parts of a URL; raise ValueError, without the URL, if it is none."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is no number
    except ValueError:
        # Outside of the handler, so that nobody sees the URL in a chained error.
        parts = SplitResult("", "", "", "", "")
    if parts.scheme not in _PORTS or not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError("must be an http or https URL such as " + DEFAULT_BASE_URL)
    return parts


def _origin(parts: SplitResult) -> str:
    """Return scheme, host in lower case, and the port unless it is the usual one."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = parts.port in {None, _PORTS[parts.scheme]}
    return f"{parts.scheme}://{host}" + ("" if usual else f":{parts.port}")


def _base_url(value: str) -> str:
    """Return the URL in one spelling, without a slash at its end."""
    parts = _split(value)
    if "@" in parts.netloc:
        raise ValueError("must hold no user and no password: keys have a setting")
    if parts.query or parts.fragment:
        raise ValueError("must end with a path: no '?' and no '#'")
    return _origin(parts) + parts.path.rstrip("/")


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
        return _origin(urlsplit(self.base_url))
