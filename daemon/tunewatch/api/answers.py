"""The answers, as they are encoded: field by field what a reader may rely on.

Within version 1 only additions; readers ignore fields they do not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from tunewatch.events.catalogue import PointObject
from tunewatch.model import Selection

EventBody = Annotated[
    Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Event"})
]
"""An event as it was committed: the same bytes as on every other way out."""


class Listed(Struct, frozen=True, kw_only=True):
    """What every list says beside its items.

    A page may hold fewer items than were asked for, even none, although there are more:
    go on with `after` set to `next`.
    """

    object: Literal["list"] = "list"
    has_more: bool
    next: str | None = None


class JobAnswer(Struct, frozen=True, kw_only=True):
    """A job: what tunewatch knows of it, and in `job` the provider's own object."""

    object: Literal["job"] = "job"
    id: str
    source: str
    realm: str
    status: str
    settled: bool
    removed: bool
    revision: int
    sequence: int
    started_at: int | None
    status_changed_at: int | None
    last_event_at: int | None
    step: int | None
    total_steps: int | None
    latest: dict[str, float]
    job: dict[str, Any]
    selection: Selection | None


class JobList(Listed, frozen=True, kw_only=True):
    """Jobs, newest first."""

    data: tuple[JobAnswer, ...]


class PointList(Listed, frozen=True, kw_only=True):
    """Metric points: by ordinal, or by step where they were down-sampled."""

    data: tuple[PointObject, ...]


class CheckpointList(Listed, frozen=True, kw_only=True):
    """The provider's own objects of all checkpoints that are listed, by step."""

    data: tuple[dict[str, Any], ...]


class BestAnswer(Struct, frozen=True, kw_only=True):
    """The best checkpoint of a job, or why there is none.

    `decision` is `final`, `provisional`, or `none`: then `checkpoint` is null and
    `reason` says why, by the reasons of `tunewatch.checkpoint.unselected`, or
    `not_chosen_yet`.
    """

    object: Literal["best_checkpoint"] = "best_checkpoint"
    id: str
    source: str
    realm: str
    status: str
    settled: bool
    decision: Literal["final", "provisional", "none"]
    model: str | None
    checkpoint: dict[str, Any] | None
    metric: str | None
    goal: str | None
    value: float | None
    reason: str
    detail: str | None
    event_id: str | None
    decided_at: int | None


class EventList(Listed, frozen=True, kw_only=True):
    """Events in commit order. `next` is where to go on later, too."""

    data: tuple[EventBody, ...]


class PartState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a source, a plugin or the store is. `reason` is fit for a person."""

    state: str  #: up, down, probing, paused, standby …
    reason: str | None = None
    since: float | None = None  #: unix seconds
    retry_at: float | None = None  #: unix seconds of the next probe
    title: str | None = None  #: what people call it, where its name is an id


class SourceAnswer(Struct, frozen=True, kw_only=True):
    """A source, as this replica sees it."""

    object: Literal["source"] = "source"
    name: str
    kind: str
    realm: str
    state: str
    reason: str | None
    since: float | None
    first_contact_at: float
    title: str | None = None


class SourceList(Listed, frozen=True, kw_only=True):
    """Every source there has been."""

    data: tuple[SourceAnswer, ...]


class PluginAnswer(Struct, frozen=True, kw_only=True):
    """A configured plugin, as this replica sees it."""

    object: Literal["plugin"] = "plugin"
    name: str
    kind: str
    events: tuple[str, ...]
    state: str
    reason: str | None
    since: float | None
    retry_at: float | None
    pending: int
    dead_letters: int


class PluginList(Listed, frozen=True, kw_only=True):
    """The configured plugins, and which kinds are installed."""

    data: tuple[PluginAnswer, ...]
    installed: tuple[str, ...]


class SchemaList(Struct, frozen=True, kw_only=True):
    """The JSON Schemas of events, by type."""

    object: Literal["schemas"] = "schemas"
    schema_version: int
    data: dict[str, dict[str, Any]]
