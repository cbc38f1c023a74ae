"""The questions: what may be said beside a path, with its meaning and its limits.

A field's annotation is all there is to know of it: the parameters of the HTTP API,
their checking and their documentation come from here.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from tunewatch.events import GROUPS

MOST = 1000
"""Items of one page, at most."""
LARGEST = 2**40
"""Of numbers: moments, ordinals, positions."""

# Together short enough for the longest line that the server reads.
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Line: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200, pattern=PRINTABLE)]
_Name: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f,]+$")
]
_groups = "|".join(GROUPS)
_Type: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=rf"^({_groups}|[A-Za-z0-9_.*?!\[\]-]+)$",
    ),
]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST)]

Source: TypeAlias = Annotated[Line, Meta(description="The name of a source.")]
Status: TypeAlias = Annotated[
    Line, Meta(description="Only jobs in this status, as the provider says it.")
]
Settled: TypeAlias = Annotated[
    bool, Meta(description="Only jobs of which nothing more will come, or the others.")
]
Model: TypeAlias = Annotated[
    Line, Meta(description="Only jobs of this base model: its name, or a glob.")
]
Suffix: TypeAlias = Annotated[Line, Meta(description="Only jobs of this suffix.")]
Metadata: TypeAlias = Annotated[
    dict[_Name, Annotated[str, Meta(max_length=200)]],
    Meta(
        description="Only jobs that have all of this metadata: `metadata[team]=a`.",
        max_length=4,
    ),
]
Decision: TypeAlias = Annotated[
    Literal["final", "provisional", "none"],
    Meta(description="Only jobs about whose best checkpoint this was decided."),
]
CreatedSince: TypeAlias = Annotated[
    Count, Meta(description="Created then or later, in unix seconds.")
]
CreatedBefore: TypeAlias = Annotated[
    Count, Meta(description="Created earlier, in unix seconds.")
]
FinishedSince: TypeAlias = Annotated[
    Count, Meta(description="Ended then or later, in unix seconds.")
]
FinishedBefore: TypeAlias = Annotated[
    Count, Meta(description="Ended earlier, in unix seconds.")
]
JobPlace: TypeAlias = Annotated[
    Line,
    Meta(
        description="Only jobs older than this one: its id, or the `next` of the page "
        "before."
    ),
]
Metrics: TypeAlias = Annotated[
    tuple[_Name, ...],
    Meta(description="Only these metrics; separated by commas.", max_length=10),
]
Downsample: TypeAlias = Annotated[
    int,
    Meta(
        ge=4,
        le=10_000,
        description="Leave at most so many values of each metric, ordered by step: of "
        "each stretch the lowest and the highest, and the first and the last of all. "
        "No value is made up. `limit` does not count then.",
    ),
]
Ordinal: TypeAlias = Annotated[
    Count, Meta(description="Only points whose ordinal `n` is higher.")
]
JobId: TypeAlias = Annotated[Line, Meta(description="Only events of jobs of this id.")]
Types: TypeAlias = Annotated[
    tuple[_Type, ...],
    Meta(
        description="Only events of these: types, globs such as `tunewatch.job.*`, and "
        f"the groups {', '.join(f'`{group}`' for group in GROUPS)}; separated by "
        "commas.",
        max_length=20,
        extra={"wanted": f"types, globs or the groups {', '.join(GROUPS)}"},
    ),
]
Since: TypeAlias = Annotated[
    Count, Meta(description="Committed then or later, in unix seconds.")
]
Before: TypeAlias = Annotated[
    Count, Meta(description="Committed earlier, in unix seconds.")
]
Order: TypeAlias = Annotated[
    Literal["asc", "desc"],
    Meta(description="Oldest first, or newest first; `after` goes along."),
]
EventPlace: TypeAlias = Annotated[
    Line,
    Meta(
        description="Only events behind this one: its id, or the `next` of the page "
        "before, or `0` for all that are kept."
    ),
]
Limit: TypeAlias = Annotated[
    int, Meta(ge=1, le=MOST, description="Items of a page, at most.")
]


class Nothing(Struct, frozen=True, kw_only=True):
    """A question without any parameter."""


class OneJobAsked(Struct, frozen=True, kw_only=True):
    """About one job; `source` is needed where two know a job of that id."""

    source: Source | None = None


class JobsAsked(Struct, frozen=True, kw_only=True):
    """About jobs, newest first."""

    source: Source | None = None
    status: Status | None = None
    settled: Settled | None = None
    model: Model | None = None
    suffix: Suffix | None = None
    metadata: Metadata = {}
    decision: Decision | None = None
    created_since: CreatedSince | None = None
    created_before: CreatedBefore | None = None
    finished_since: FinishedSince | None = None
    finished_before: FinishedBefore | None = None
    limit: Limit = 50
    after: JobPlace | None = None


class PointsAsked(OneJobAsked, frozen=True, kw_only=True):
    """About the metric points of a job, by ordinal."""

    metrics: Metrics = ()
    downsample: Downsample | None = None
    limit: Limit = MOST
    after: Ordinal = 0


class EventsOfJobAsked(OneJobAsked, frozen=True, kw_only=True):
    """About the events of one job, in commit order."""

    type: Types = ()
    since: Since | None = None
    before: Before | None = None
    order: Order = "asc"
    limit: Limit = 100
    after: EventPlace | None = None


class EventsAsked(EventsOfJobAsked, frozen=True, kw_only=True):
    """About events, in commit order."""

    job: JobId | None = None


class StreamAsked(Struct, frozen=True, kw_only=True):
    """About events as they are committed."""

    source: Source | None = None
    job: JobId | None = None
    type: Types = ()
    after: EventPlace | None = None
