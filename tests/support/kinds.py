"""A kind of source and a kind of plugin, as small as they can be."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from tunewatch.settings import Duration, NoSuchKind, Secret


class ApiSettings(BaseModel):
    """An API with an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(
        default="https://api.openai.com/v1", description="Where the API is."
    )
    organization: str | None = Field(
        default=None, description="The organisation.", examples=["org-1"]
    )


class CloudSettings(BaseModel):
    """An API that needs an endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str = Field(description="The resource's address.")
    api_version: str = Field(default="v1", description="Version of the API.")


class StateFileSettings(BaseModel):
    """A trainer's own state file: no key."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    needs_key: ClassVar[bool] = False

    path: str = Field(description="Where the file is.")


class ViewSettings(BaseModel):
    """Shows what is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Duration = Field(default=3600.0, description="How long, a duration.")


class HookSettings(BaseModel):
    """Sends what happened."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Secret = Field(
        description="Where to send.", examples=["url_file=/run/secrets/hook-url"]
    )
    token: SecretStr | None = Field(default=None, description="A token.")
    format: str = Field(default="standard", description="What is sent.")

    @field_validator("format")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in ("standard", "slack"):
            # As careless as a stranger's plugin may be.
            raise ValueError(f"no format called {name}")
        return name


SOURCES = {"openai": ApiSettings, "azure": CloudSettings, "file": StateFileSettings}
PLUGINS = {
    "best_checkpoint": ViewSettings,
    "prometheus": ViewSettings,
    "webhook": HookSettings,
}


def source_model(kind: str) -> type[BaseModel]:
    if kind not in SOURCES:
        raise NoSuchKind(f"there is no kind of source called '{kind}'")
    return SOURCES[kind]


def plugin_model(kind: str) -> type[BaseModel]:
    if kind not in PLUGINS:
        raise NoSuchKind(f"there is no plugin called '{kind}'")
    return PLUGINS[kind]
