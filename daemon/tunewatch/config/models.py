"""The keys of the configuration, each with its meaning, unit and default.

The annotated example is generated from the descriptions here. What a kind of source or
plugin adds to its table is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SerializeAsAny,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from tunewatch.config.address import Address, parse_address, split_state
from tunewatch.config.tokens import SecretTokens
from tunewatch.events import judge
from tunewatch.settings import (
    Duration,
    Mistake,
    Secret,
    Wanted,
    parse_duration,
    secrets_of,
)

ALWAYS_ON = ("best_checkpoint", "prometheus")
"""Kinds of plugin that run unless a table says `enabled = false`."""


class _Keys(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
        # Who asks for `[daemon]` alone, as commands do, shall not wait for the others.
        defer_build=True,
    )


Wait = Annotated[Duration, Field(gt=0)]
_DURATION = {"format": "duration"}


class DaemonSettings(_Keys):
    """`[daemon]`: the process itself."""

    state: str = Field(
        description="Where the state is kept: sqlite:////path/of/state.db, or "
        "postgresql://user@host/database for several replicas. Default: state.db in "
        "systemd's state directory, in /var/lib/tunewatch, or in the user's own.",
        examples=["sqlite:////var/lib/tunewatch/state.db"],
    )
    password: Secret | None = Field(
        default=None,
        description="The password of the PostgreSQL user; better as password_file.",
        examples=["password_file=/run/secrets/tunewatch-database"],
    )
    listen: Annotated[
        Address, PlainValidator(parse_address), WithJsonSchema({"type": "string"})
    ] = Field(
        default=Address("127.0.0.1", 9478),
        description="Address of the HTTP server. Off loopback and without api_token, "
        "only probes, /metrics and webhooks answer. Default 127.0.0.1:9478.",
    )
    api_token: Secret | None = Field(
        default=None,
        description="The tokens that open the operator API, one a line; better as "
        "api_token_file, with a line of `tunewatch secret --token NAME` for each.",
        examples=["api_token_file=/run/secrets/tunewatch-api-token"],
    )
    web_config_file: Path | None = Field(
        default=None,
        description="A web configuration file as Prometheus and its exporters have "
        "it: TLS, client certificates, names with passwords. It and the files it names "
        "are read again when they change.",
        examples=["/etc/tunewatch/web.yml"],
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What is logged: debug, info, warning or error."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto is console on a terminal and json elsewhere."
    )
    retention: Wait = Field(
        default=90 * 86400.0,
        description="How long finished history is kept, a duration. Default 90d.",
    )
    delivery_log: Wait = Field(
        default=30 * 86400.0,
        description="How long every attempt to deliver is kept, a duration. Default "
        "30d.",
    )
    delivery_log_rows: int = Field(
        default=1_000_000,
        ge=1000,
        description="How many attempts are kept at most; the oldest go first. A "
        "million take about 250 MB. Default 1000000.",
    )
    shutdown_grace: Duration = Field(
        default=20.0,
        description="How long a stop waits for deliveries that are out, a duration. "
        "Default 20s.",
    )

    @model_validator(mode="before")
    @classmethod
    def _password_apart(cls, data: Any) -> Any:
        """Keep a password that stands in the URL where no one can print it."""
        if not isinstance(data, dict) or not isinstance(data.get("state"), str):
            return data
        try:
            state, password = split_state(data["state"])
        except Wanted:
            return data  # told by the field's own validator
        if password is None:
            return {**data, "state": state}
        if data.get("password") is not None:
            raise ValueError("the password stands in state and in password: keep one")
        return {**data, "state": state, "password": Secret.of(password)}

    @field_validator("api_token", mode="after")
    @classmethod
    def _lines(cls, given: Secret | None) -> Secret | None:
        """Know which of its lines are secret, so that names may be read in logs."""
        return None if given is None else SecretTokens.around(given)

    @field_validator("state", mode="after")
    @classmethod
    def _known_engine(cls, state: str) -> str:
        return split_state(state)[0]


def _backfill(value: object) -> object:
    if value == "none":
        return 0.0
    if value == "all":
        return math.inf
    if isinstance(value, float) and math.isinf(value):
        return value
    try:
        return parse_duration(value)
    except Wanted:
        raise Wanted('"none", "all" or a duration such as 30d') from None


class SourceKeys(_Keys):
    """`[sources.NAME]`: what every kind of source has."""

    kind: str = Field(
        default="openai",
        description='What the source is: "openai" or another installed kind.',
    )
    enabled: bool = Field(default=True, description="false leaves the source out.")
    api_key: Secret | None = Field(
        default=None,
        description="The key, as api_key_env, api_key_file (read again when it "
        "changes) or api_key_credential (systemd).",
        examples=["api_key_env=OPENAI_API_KEY"],
    )
    poll_interval: Wait = Field(
        default=15.0,
        description="How often jobs that are active are looked at, a duration. "
        "Default 15s.",
    )
    idle_interval: Wait = Field(
        default=60.0,
        description="How often new jobs are sought while none is active, a duration. "
        "Default 60s.",
    )
    settle_window: Wait = Field(
        default=90.0,
        description="How long a finished job must have been quiet to be settled, a "
        "duration. Default 90s.",
    )
    requests_per_minute: int = Field(
        default=120,
        ge=1,
        le=100_000,
        description="Requests a minute that this source may use. Default 120.",
    )
    backfill: Annotated[
        float,
        BeforeValidator(_backfill),
        WithJsonSchema(
            {"anyOf": [{"enum": ["none", "all"]}, {"type": "string", **_DURATION}]}
        ),
    ] = Field(
        default=0.0,
        description='Which older jobs are told: "none", "all", or those that ended at '
        "most a duration before the first contact, such as 30d. Default none.",
    )
    realm: str | None = Field(
        default=None,
        min_length=1,
        description="Where the jobs live, if the API moved to another address and the "
        "jobs are the same. Default: provider and origin of the API.",
        examples=["openai:https://api.openai.com"],
    )
    renamed_from: str | None = Field(
        default=None,
        min_length=1,
        description="The former name of this source, whose state it takes over.",
        examples=["former-name"],
    )
    webhook_secret: Secret | None = Field(
        default=None,
        description="The signing secret of the provider's webhooks, as "
        "webhook_secret_env or webhook_secret_file; several, one a line, while it is "
        "exchanged. Turns on POST /hooks/openai/NAME: a webhook lets its job be looked "
        "at at once.",
        examples=["webhook_secret_env=OPENAI_WEBHOOK_SECRET"],
    )


class SourceSettings(SourceKeys):
    """A source as configured."""

    name: str
    settings: SerializeAsAny[BaseModel] | None = None  #: the kind's own


class OrganizationKeys(_Keys):
    """`[organizations.NAME]`: what every organisation has, beside keys of sources."""

    kind: str = Field(
        default="openai",
        description='Whose organisation it is: "openai" or another installed kind of '
        "source that has projects.",
    )
    enabled: bool = Field(
        default=True, description="false leaves the organisation out."
    )
    admin_key: Secret | None = Field(
        default=None,
        description="The key that lists the projects, as admin_key_file (read again "
        "when it changes), admin_key_env or admin_key_credential; it can read no job. "
        "Without it every file in keys is a project.",
        examples=["admin_key_file=/run/secrets/openai-admin-key"],
    )
    keys: Path = Field(
        description="A directory with the key of each project in a file that is named "
        "by the project's id; a file ID.webhook beside it has the signing secrets of "
        "the project's webhooks. Looked at every few seconds; a mounted Kubernetes "
        "secret will do.",
        examples=["/etc/tunewatch/keys"],
    )
    include: tuple[str, ...] = Field(
        default=("*",),
        description="Projects that are watched: globs of ids and titles.",
    )
    exclude: tuple[str, ...] = Field(
        default=(),
        description="Projects that are not, though included: globs of ids and titles.",
    )
    list_interval: Wait = Field(
        default=300.0,
        description="How often the projects are listed, a duration. Default 5m.",
    )
    renamed_from: dict[str, str] = Field(
        default_factory=dict,
        description="By a project's id, the former name of a source whose state it "
        "takes over.",
    )


class OrganizationSettings(OrganizationKeys):
    """An organisation as configured."""

    name: str
    template: SourceSettings  #: of its projects' sources, without name and key

    def source(
        self,
        project: str,
        *,
        key: Secret | None,
        webhook_secret: Secret | None = None,
    ) -> SourceSettings:
        """Return the settings of a project's source."""
        own = {"name": project, "api_key": key, "webhook_secret": webhook_secret}
        return self.template.model_copy(update=own)


class DeliverySettings(_Keys):
    """`delivery = {…}` of a plugin."""

    timeout: Wait = Field(
        default=15.0, description="Longest delivery, a duration. Default 15s."
    )
    concurrency: int = Field(
        default=8, ge=1, le=1024, description="Deliveries at once. Default 8."
    )
    max_age: Wait = Field(
        default=7 * 86400.0,
        description="What waited longer becomes a dead letter, a duration. Default 7d.",
    )
    rate: Annotated[
        float | None,
        BeforeValidator(lambda rate: None if rate == "none" else rate),
        WithJsonSchema(
            {"anyOf": [{"const": "none"}, {"type": "number", "exclusiveMinimum": 0}]}
        ),
    ] = Field(
        default=None,
        gt=0,
        description='Deliveries a second, or "none" for no limit. Default none.',
    )


class PluginKeys(_Keys):
    """`[plugins.NAME]`: what every kind of plugin has."""

    kind: str | None = Field(
        default=None, description="What the plugin is. Default: the table's name."
    )
    enabled: bool = Field(default=True, description="false leaves the plugin out.")
    events: tuple[str, ...] | None = Field(
        default=None,
        description="Event types it gets: types, globs and the groups @status, "
        "@terminal, @selection, @metrics, @source. Default: the plugin's own.",
        examples=[["@terminal", "@selection"]],
    )
    sources: tuple[str, ...] = Field(
        default=("*",), description="Sources it listens to: names and globs."
    )
    metadata: dict[str, str] = Field(
        default_factory=dict, description="Only jobs that have all of this metadata."
    )
    delivery: DeliverySettings = Field(
        default_factory=DeliverySettings, description="How events are handed over."
    )

    @field_validator("events", mode="after")
    @classmethod
    def _known_types(cls, events: tuple[str, ...] | None) -> tuple[str, ...] | None:
        judge(events or ())
        return events


class PluginSettings(PluginKeys):
    """A plugin as configured."""

    name: str
    kind: str
    settings: SerializeAsAny[BaseModel] | None = None  #: the kind's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is configured."""

    daemon: DaemonSettings
    sources: dict[str, SourceSettings]  #: those that are not left out
    plugins: dict[str, PluginSettings]  #: the same
    organizations: dict[str, OrganizationSettings] = field(default_factory=dict)
    former: dict[str, str] = field(default_factory=dict)  #: names of sources, by new
    files: tuple[str, ...] = ()  #: that were read
    doubts: tuple[Mistake, ...] = ()  #: what is valid and yet probably a slip
    learned: list[Secret] = field(default_factory=list)
    """Secrets that came later, as keys of projects: hidden like all others."""

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret: what must never be printed."""
        yield from secrets_of(self.daemon)
        yield from secrets_of(self.sources)
        yield from secrets_of(self.plugins)
        yield from secrets_of(self.organizations)
