"""The questions about deliveries, and what has to be said to have something done.

Of the same kind as those in `asked`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

from tunewatch.api.asked import Count, JobId, Limit, Line, Source, Types

Plugin: TypeAlias = Annotated[Line, Meta(description="Only deliveries to this plugin.")]
EventId: TypeAlias = Annotated[Line, Meta(description="Only deliveries of this event.")]
Outcome: TypeAlias = Literal[
    "accepted",
    "receiver",
    "timeout",
    "exception",
    "event",
    "rejected",
    "paused",
    "cancelled",
    "failed",
]
Outcomes: TypeAlias = Annotated[
    tuple[Outcome, ...],
    Meta(
        description="Only attempts that came to this; `failed` is all but `accepted`. "
        "Separated by commas.",
        max_length=9,
        extra={"wanted": f"some of {', '.join(get_args(Outcome))}"},
    ),
]
RedeliveryId: TypeAlias = Annotated[
    Count, Meta(description="Only attempts of this redelivery.")
]
AttemptedSince: TypeAlias = Annotated[
    Count, Meta(description="Begun then or later, in unix seconds.")
]
AttemptedBefore: TypeAlias = Annotated[
    Count, Meta(description="Begun earlier, in unix seconds.")
]
Closed: TypeAlias = Annotated[
    bool, Meta(description="Also those that were delivered since.")
]
BuriedSince: TypeAlias = Annotated[
    Count, Meta(description="Given up then or later, in unix seconds.")
]
BuriedBefore: TypeAlias = Annotated[
    Count, Meta(description="Given up earlier, in unix seconds.")
]
OlderThan: TypeAlias = Annotated[
    Count, Meta(description="Only those older than this one: its id.")
]
By: TypeAlias = Annotated[
    Line,
    Meta(
        description="Only what was done by this one: a token's name, `api:` and an "
        "address, or `cli:` and a user."
    ),
]
What: TypeAlias = Annotated[
    Line, Meta(description="Only this kind of deed, such as `pause_plugin`.")
]
About: TypeAlias = Annotated[
    Line, Meta(description="Only what was done to this one, such as a plugin.")
]
DoneSince: TypeAlias = Annotated[
    Count, Meta(description="Done then or later, in unix seconds.")
]
DoneBefore: TypeAlias = Annotated[
    Count, Meta(description="Done earlier, in unix seconds.")
]


class DeliveriesAsked(Struct, frozen=True, kw_only=True):
    """About attempts to deliver, newest first."""

    plugin: Plugin | None = None
    source: Source | None = None
    job: JobId | None = None
    event: EventId | None = None
    outcome: Outcomes = ()
    redelivery: RedeliveryId | None = None
    since: AttemptedSince | None = None
    before: AttemptedBefore | None = None
    limit: Limit = 100
    after: OlderThan | None = None


class DeadLettersAsked(Struct, frozen=True, kw_only=True):
    """About dead letters, newest first."""

    plugin: Plugin | None = None
    source: Source | None = None
    job: JobId | None = None
    closed: Closed = False
    since: BuriedSince | None = None
    before: BuriedBefore | None = None
    limit: Limit = 100
    after: OlderThan | None = None


class RedeliveriesAsked(Struct, frozen=True, kw_only=True):
    """About what was asked to be delivered again, newest first."""

    limit: Limit = 100
    after: OlderThan | None = None


class AuditAsked(Struct, frozen=True, kw_only=True):
    """About what people had done, newest first."""

    by: By | None = None
    what: What | None = None
    about: About | None = None
    since: DoneSince | None = None
    before: DoneBefore | None = None
    limit: Limit = 100
    after: OlderThan | None = None


class RedeliverBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be delivered again.

    Events or dead letters by their ids; or with `dead` every dead letter that is open;
    or a range of what one plugin is subscribed to. The other fields narrow those down.
    """

    events: Annotated[tuple[Line, ...], Meta(max_length=1000)] = ()
    letters: Annotated[tuple[Count, ...], Meta(max_length=1000)] = ()
    dead: bool = False
    missed: Annotated[
        bool, Meta(description="What was committed before the plugin was there.")
    ] = False
    plugin: Line | None = None
    source: Line | None = None
    job: Line | None = None
    types: Types = ()
    since: Count | None = None
    before: Count | None = None
    first: Annotated[Count, Meta(description="A position.")] | None = None
    last: Annotated[Count, Meta(description="A position.")] | None = None
    dry_run: Annotated[bool, Meta(description="Only say what would go out.")] = False


class DryRunBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether it is meant."""

    dry_run: Annotated[bool, Meta(description="Only say what would go out.")] = False


class PauseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a plugin is paused; said to whoever asks how it is."""

    reason: Annotated[Line, Meta(description="Fit for anyone to read.")] | None = None


class NoBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing has to be said."""
