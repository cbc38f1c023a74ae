"""Every event there is, one frozen class each: reading this file is the catalogue.

What the provider says is `fine_tuning.*`; what tunewatch concludes is `tunewatch.*`.
A payload holds what its type adds to the common fields of `data` (see `wire.Common`).
The wire name is the explicit `TYPE`, never the class's name.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, TypeAlias

from msgspec import Struct, field

JOB_STATUS_PREFIX = "fine_tuning.job."
"""Status events are this plus the provider's word, see `status_type`."""

_ODD = re.compile(r"[^a-z0-9_]")


def status_type(status: str) -> str:
    """Return the event type of a status: characters outside [a-z0-9_] become `_`."""
    return JOB_STATUS_PREFIX + _ODD.sub("_", status)


class JobStatusChanged(Struct, frozen=True, kw_only=True):
    """The status of a job changed; the type carries the API's own word.

    `previous_status` is null at first sight. Fields that changed with it travel in
    `changes` as `{field: {"before": …, "after": …}}`.
    """

    TYPE: ClassVar[str] = "fine_tuning.job.<status>"
    job: dict[str, Any]  #: the provider's own object, whole
    previous_status: str | None  #: the word before; null at first sight
    changes: dict[str, Any] = field(default_factory=dict)  #: {field: {before, after}}


class MessageLogged(Struct, frozen=True, kw_only=True):
    """The API logged a message for a job (or an event of a type unknown to us)."""

    TYPE: ClassVar[str] = "fine_tuning.event.message"
    level: str  #: info, warn, error, or the provider's word
    message: str  #: as the provider wrote it
    event_id: str  #: the provider's id of it
    event_type: str  #: message, or a type unknown to us
    event_data: Any = None  #: what else came with it


class PointObject(Struct, frozen=True, kw_only=True):
    """A metric point as it goes over the wire."""

    n: int  #: ordinal within the job, from 1
    step: int  #: of the training
    total_steps: int | None  #: null if nobody said
    created_at: int | None  #: unix seconds
    values: dict[str, float]  #: by canonical name; finite numbers


class MetricsRecorded(Struct, frozen=True, kw_only=True):
    """New metric points of a job, by ordinal; at most 500 and 128 KiB."""

    TYPE: ClassVar[str] = "fine_tuning.event.metrics"
    points: tuple[PointObject, ...]  #: in the order of `n`


class CheckpointCreated(Struct, frozen=True, kw_only=True):
    """A checkpoint of a job is listed."""

    TYPE: ClassVar[str] = "fine_tuning.checkpoint.created"
    checkpoint: dict[str, Any]  #: the provider's own object, whole


class CheckpointRemoved(Struct, frozen=True, kw_only=True):
    """A checkpoint of a job is no longer listed."""

    TYPE: ClassVar[str] = "fine_tuning.checkpoint.removed"
    checkpoint: dict[str, Any]  #: as it was listed last


class JobDiscovered(Struct, frozen=True, kw_only=True):
    """A job was seen for the first time."""

    TYPE: ClassVar[str] = "tunewatch.job.discovered"
    job: dict[str, Any]  #: the provider's own object, whole


class JobUpdated(Struct, frozen=True, kw_only=True):
    """A field of the closed list changed while the status stayed."""

    TYPE: ClassVar[str] = "tunewatch.job.updated"
    job: dict[str, Any]  #: the provider's own object, whole
    changes: dict[str, Any]  #: {field: {before, after}}


class JobSettled(Struct, frozen=True, kw_only=True):
    """Nothing more will come of a job: it ended and stayed quiet.

    Durations are seconds by the provider's times, null where one is missing.
    """

    TYPE: ClassVar[str] = "tunewatch.job.settled"
    job: dict[str, Any]  #: the provider's own object, whole
    duration_seconds: int | None  #: from creation to end
    queue_seconds: int | None  #: from creation to the start of the training


class JobReopened(Struct, frozen=True, kw_only=True):
    """A settled job changed after all."""

    TYPE: ClassVar[str] = "tunewatch.job.reopened"
    job: dict[str, Any]  #: the provider's own object, whole
    duration_seconds: int | None  #: from creation to end
    queue_seconds: int | None  #: from creation to the start of the training


class JobRemoved(Struct, frozen=True, kw_only=True):
    """A job is gone from its provider while its list works."""

    TYPE: ClassVar[str] = "tunewatch.job.removed"
    job: dict[str, Any]  #: as it was seen last
    duration_seconds: int | None  #: from creation to end
    queue_seconds: int | None  #: from creation to the start of the training


class CheckpointSelected(Struct, frozen=True, kw_only=True):
    """The best checkpoint is another one, or is now final."""

    TYPE: ClassVar[str] = "tunewatch.checkpoint.selected"
    checkpoint: dict[str, Any]  #: the provider's own object, whole
    decision: Literal["provisional", "final"]  #: only `final` is meant to be deployed
    metric: str  #: what decided
    goal: Literal["minimize", "maximize"]  #: which way is better
    value: float  #: of the metric
    reason: str  #: in a sentence or two, for people
    candidates: tuple[dict[str, Any], ...]  #: every checkpoint with its value
    previous: dict[str, Any] | None  #: the choice before, null if there was none


UnselectedReason: TypeAlias = Literal[
    "no_validation_file",
    "no_full_metric",
    "no_candidate",
    "job_failed",
    "job_cancelled",
    "checkpoint_removed",
]


class CheckpointUnselected(Struct, frozen=True, kw_only=True):
    """A job settled and no checkpoint can be chosen, or the chosen one vanished."""

    TYPE: ClassVar[str] = "tunewatch.checkpoint.unselected"
    reason: UnselectedReason  #: one word, for programs
    detail: str  #: in a sentence, for people


class SourceDown(Struct, frozen=True, kw_only=True):
    """A source gets no answers: a key refused, or an API away for a while."""

    TYPE: ClassVar[str] = "tunewatch.source.down"
    reason: str  #: what the source answered, for people
    since: str  #: ISO 8601


class SourceUp(Struct, frozen=True, kw_only=True):
    """A source that was down answers again."""

    TYPE: ClassVar[str] = "tunewatch.source.up"
    reason: str  #: why it had been down
    since: str  #: ISO 8601: when it had gone down


class ReceiverTried(Struct, frozen=True, kw_only=True):
    """Nothing happened: a person tries the way to a receiver (`check --send-test`)."""

    TYPE: ClassVar[str] = "tunewatch.test"
    message: str  #: that this is a test, in a sentence


class Unheard(Struct, frozen=True, kw_only=True):
    """A type of a later version, kept as it came."""

    TYPE: ClassVar[str] = ""
    fields: dict[str, Any]


Payload: TypeAlias = (
    JobStatusChanged
    | MessageLogged
    | MetricsRecorded
    | CheckpointCreated
    | CheckpointRemoved
    | JobDiscovered
    | JobUpdated
    | JobSettled
    | JobReopened
    | JobRemoved
    | CheckpointSelected
    | CheckpointUnselected
    | SourceDown
    | SourceUp
    | ReceiverTried
    | Unheard
)

CATALOGUE: tuple[type[Payload], ...] = (
    JobStatusChanged,
    MessageLogged,
    MetricsRecorded,
    CheckpointCreated,
    CheckpointRemoved,
    JobDiscovered,
    JobUpdated,
    JobSettled,
    JobReopened,
    JobRemoved,
    CheckpointSelected,
    CheckpointUnselected,
    SourceDown,
    SourceUp,
    ReceiverTried,
)

DERIVED_TYPES = frozenset({CheckpointSelected.TYPE, CheckpointUnselected.TYPE})
"""What a reactor may conclude."""
