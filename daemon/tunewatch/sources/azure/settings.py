"""Where an Azure resource is, in which of its forms it is asked, and who asks.

Messages say what was wanted, what was found and what to do, and never echo a value.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tunewatch.settings import Secret, Wanted
from tunewatch.sources.urls import is_loopback, one_spelling, origin_of, split_url

SUCH_AS = "https://NAME.openai.azure.com"

_ADDED = ("/openai/v1", "/openai", "/fine_tuning", "/fine_tuning/jobs")
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_UNDATED = ("v1", "preview", "latest")
_CLOUDS = {".azure.us": "us", ".azure.cn": "cn"}


def _endpoint(value: str) -> str:
    """Return the endpoint in one spelling; what is added to it must not be in it."""
    if "?" in value and "api-version" in value:
        raise ValueError(
            "wanted the address alone; found an api-version in it: move that to "
            "api_version"
        )
    parts = split_url(value, such_as=SUCH_AS)
    if parts.scheme == "http" and not is_loopback(parts):
        raise ValueError(
            "wanted an https URL; found http, by which everyone on the way could read "
            "the key: write https (http is for this machine only)"
        )
    path = parts.path.rstrip("/").lower()
    if "/openai/deployments" in path:
        raise ValueError(
            "wanted the resource's address; found one of a deployment: end it before "
            "/openai"
        )
    found = next((end for end in _ADDED if path.endswith(end)), None)
    if found == "/openai":
        raise ValueError(
            "wanted the resource's address; found /openai at its end, which is added "
            "here: leave it out, and set api_version if /openai without /v1 is meant"
        )
    if found is not None:
        raise ValueError(
            f"wanted the resource's address; found {found} at its end, which is added "
            "here: leave it out"
        )
    return one_spelling(parts)


def _version(value: str) -> str:
    if value in _UNDATED or _DATED.fullmatch(value):
        return value
    raise Wanted(
        "a version such as 2024-10-21 or 2025-04-01-preview, or none for /openai/v1"
    )


class AzureSettings(BaseModel):
    """Azure OpenAI or Foundry: where the resource is, and who asks it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )
    needs_key: ClassVar[bool] = False  #: `_one_way_in` knows the other ways

    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        description="The resource's address without a path: "
        "https://NAME.openai.azure.com, or a Foundry project's, "
        "https://NAME.services.ai.azure.com/api/projects/PROJECT.",
        examples=[SUCH_AS],
    )
    api_version: Annotated[str, AfterValidator(_version)] | None = Field(
        default=None,
        description="With a dated version /openai/fine_tuning is asked; without one "
        '/openai/v1, as with "preview", which turns on what is new there.',
        examples=["2024-10-21"],
    )
    api_key: Secret | None = Field(
        default=None,
        description="The resource's key, unless entra or entra_token is given.",
        examples=["api_key_env=AZURE_OPENAI_API_KEY"],
    )
    entra: bool = Field(
        default=False,
        description="Sign in with Entra ID instead of a key: managed or workload "
        "identity, a service principal or `az login`, as the AZURE_* variables say. "
        "Needs the extra azure.",
    )
    entra_token: Secret | None = Field(
        default=None,
        description="A token of Entra ID that somebody else keeps fresh, instead of a "
        "key; best as entra_token_file, which is read again when it changes.",
        examples=["entra_token_file=/run/tunewatch/entra-token"],
    )
    entra_scope: str | None = Field(
        default=None,
        min_length=1,
        description="What entra signs in for. Default: the scope of the endpoint's "
        "cloud.",
        examples=["https://cognitiveservices.azure.com/.default"],
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        ways = {
            "api_key": self.api_key is not None,
            "entra": self.entra,
            "entra_token": self.entra_token is not None,
        }
        given = [way for way, is_given in ways.items() if is_given]
        if not given:
            raise ValueError(
                "wanted the key of the resource, as api_key_env, api_key_file, "
                "api_key_credential or api_key, or entra = true, or entra_token_file; "
                "found none"
            )
        if len(given) > 1:
            found = " and ".join(given)
            raise ValueError(f"wanted one way to sign in; found {found}: keep one")
        if self.entra and not _has_identity():
            raise ValueError(
                "entra = true wanted the package azure-identity; found it is not "
                "installed: pip install 'tunewatch[azure]'"
            )
        return self

    @property
    def origin(self) -> str:
        """The API's origin: scheme, host and port."""
        return origin_of(urlsplit(self.endpoint))

    @property
    def base_url(self) -> str:
        """The address that paths such as /fine_tuning/jobs are below."""
        is_dated = self.api_version is not None and self.api_version not in _UNDATED
        return f"{self.endpoint}/openai" + ("" if is_dated else "/v1")

    @property
    def query(self) -> dict[str, object]:
        """What every request asks beside its own."""
        return {} if self.api_version is None else {"api-version": self.api_version}

    @property
    def scope(self) -> str:
        """What a token is for."""
        if self.entra_scope is not None:
            return self.entra_scope
        if "/api/projects/" in self.endpoint:
            return "https://ai.azure.com/.default"
        host = urlsplit(self.endpoint).hostname or ""
        cloud = next((to for end, to in _CLOUDS.items() if host.endswith(end)), "com")
        return f"https://cognitiveservices.azure.{cloud}/.default"


def _has_identity() -> bool:
    try:
        return find_spec("azure.identity") is not None
    except ModuleNotFoundError:
        return False
