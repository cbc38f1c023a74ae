"""The settings of a W&B account: where runs go, and how long things may take.

Checked as a whole before anything is opened. The client library is not imported here,
only looked for: a daemon without it starts as long as nobody asks for W&B.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from yarl import URL

from tunewatch.plugin import Duration, Secret

Mode = Literal["online", "offline", "disabled"]
ServerSide = Literal["skip", "annotate", "duplicate"]
Alert = Literal["failed", "cancelled"]

LONGEST_NAME = 128  #: characters of a project, an entity, a group
LONGEST_TAG = 64
_NOT_IN_PROJECTS = re.compile(r'[/\\#?%:"]')


class Home(Struct, frozen=True, kw_only=True):
    """Where the run of a job belongs."""

    entity: str | None
    project: str
    group: str | None
    tags: tuple[str, ...]


class Route(BaseModel):
    """Where the jobs of some sources, or with some metadata, go instead."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(default="*", description="the sources it is for: a glob")
    metadata: dict[str, str] = Field(
        default_factory=dict, description="only jobs with these metadata"
    )
    entity: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_NAME,
        description="user or team these runs belong to",
    )
    project: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_NAME,
        description="the project these runs go to",
    )
    group: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_NAME,
        description="the group these runs are shown in",
    )
    tags: list[str] = Field(
        default_factory=list, description="tags of these runs, beside the others"
    )

    @field_validator("project")
    @classmethod
    def _can_be_a_project(cls, name: str | None) -> str | None:
        return None if name is None else _project(name)

    @field_validator("tags")
    @classmethod
    def _can_be_tags(cls, tags: list[str]) -> list[str]:
        return _tags(tags)

    def fits(self, source: str, metadata: Mapping[str, object]) -> bool:
        """Whether a job of this source with these metadata goes this way."""
        return fnmatchcase(source, self.source) and all(
            metadata.get(key) == value for key, value in self.metadata.items()
        )


class WandbSettings(BaseModel):
    """One W&B account."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    mode: Mode = Field(
        default="online",
        description=(
            "online; offline, into files that `wandb sync` sends later; or disabled"
        ),
    )
    api_key: Secret | None = Field(
        default=None,
        description="the key of the account, read again when its file changes",
        examples=["api_key_file=/run/secrets/wandb-key"],
    )
    url: str | None = Field(
        default=None,
        description="the W&B server, if it is your own; default: the client's",
        examples=["https://wandb.example.com"],
    )
    entity: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_NAME,
        description="user or team the runs belong to; default: that of the key",
        examples=["acme"],
    )
    project: str = Field(
        default="fine-tuning",
        min_length=1,
        max_length=LONGEST_NAME,
        description="the project that runs go to",
    )
    group: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_NAME,
        description="the group that runs are shown in",
        examples=["nightly"],
    )
    group_from: str | None = Field(
        default=None,
        min_length=1,
        description="the key of a job's metadata whose value is its group",
        examples=["team"],
    )
    tags: list[str] = Field(
        default_factory=list, description="tags of every run, beside tunewatch's own"
    )
    routes: list[Route] = Field(
        default_factory=list,
        description=(
            "where some jobs go instead, the first that fits: tables with source,"
            " metadata, entity, project, group and tags"
        ),
    )
    when_server_side: ServerSide = Field(
        default="skip",
        description=(
            "what to do with jobs that have the provider's own W&B integration: skip,"
            " annotate its run with outcome and best checkpoint, or duplicate"
        ),
    )
    alerts: list[Alert] = Field(
        default_factory=list,
        description="of which ends W&B alerts people: failed, cancelled",
    )
    dir: Path | None = Field(
        default=None,
        description=(
            "where the client keeps runs on disk; default: the plugin's own directory"
            " in the daemon's state"
        ),
        examples=["/var/lib/tunewatch/wandb"],
    )
    max_open: int = Field(
        default=50, ge=1, le=1000, description="runs that are open at once"
    )
    idle: Duration = Field(
        default=1800.0,
        description="after how long without news a run is closed until there are some",
    )
    init_timeout: Duration = Field(
        default=6.0, description="how long W&B may take to open a run"
    )
    finish_timeout: Duration = Field(
        default=6.0, description="how long W&B may take to have all of a run"
    )

    @field_validator("project")
    @classmethod
    def _can_be_a_project(cls, name: str) -> str:
        return _project(name)

    @field_validator("tags")
    @classmethod
    def _can_be_tags(cls, tags: list[str]) -> list[str]:
        return _tags(tags)

    @field_validator("url")
    @classmethod
    def _is_a_server(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            url = URL(text)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host or url.user:
            raise ValueError("wanted the http or https URL of a W&B server, no more")
        return text.rstrip("/")

    @field_validator("init_timeout", "finish_timeout")
    @classmethod
    def _is_some_time(cls, seconds: float) -> float:
        if seconds < 1:
            raise ValueError("wanted at least 1s")
        return seconds

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if self.mode == "disabled":
            return self
        if not _has_client():
            raise ValueError(
                "wanted the package wandb; found it is not installed:"
                " pip install 'tunewatch[wandb]'"
            )
        if self.mode == "online" and self.api_key is None:
            raise ValueError(
                "wanted the key of the account, as api_key_file, api_key_env,"
                ' api_key_credential or api_key, or mode = "offline"; found none'
            )
        return self

    @property
    def alone_with_jobs(self) -> str | None:
        """Why no second account may have the same job, and what to do; None if it may.

        The client's helper, one for a process, holds a run by its id alone, whatever
        its project.
        """
        if self.mode == "disabled":
            return None
        return (
            "a job has one run, and the W&B client can hold that only once; give them"
            " other sources or metadata, or make them one table with routes"
        )

    def home(self, source: str, metadata: Mapping[str, object]) -> Home:
        """Return where the run of a job with these metadata belongs."""
        route = next((one for one in self.routes if one.fits(source, metadata)), _PLAIN)
        said = metadata.get(self.group_from) if self.group_from else None
        named = said[:LONGEST_NAME] if isinstance(said, str) and said else None
        return Home(
            entity=route.entity or self.entity,
            project=route.project or self.project,
            group=route.group or named or self.group,
            tags=(*self.tags, *route.tags),
        )


_PLAIN = Route()


def _has_client() -> bool:
    try:
        return find_spec("wandb") is not None
    except ImportError:
        return False


def _project(name: str) -> str:
    if _NOT_IN_PROJECTS.search(name):
        raise ValueError("wanted the name of a project, without / \\ # ? % : or quotes")
    return name


def _tags(tags: list[str]) -> list[str]:
    if any(not 1 <= len(tag) <= LONGEST_TAG for tag in tags):
        raise ValueError(f"wanted tags of 1 to {LONGEST_TAG} characters")
    return tags
