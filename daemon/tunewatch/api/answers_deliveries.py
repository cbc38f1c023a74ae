"""The answers about deliveries, and to what was asked to be done.

Of the same kind as those in `answers`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from tunewatch.api.answers import Listed


class RequestAnswer(Struct, frozen=True, kw_only=True):
    """What was asked for is written down: whoever has the source or plugin does it."""

    object: Literal["request"] = "request"
    id: int
    kind: str


class DeliveryAnswer(Struct, frozen=True, kw_only=True):
    """One attempt to deliver, and what came of it.

    `outcome`: accepted; receiver, timeout, exception: trouble of the receiver, by its
    word, by silence, by an exception nobody expected; event: trouble of the event;
    rejected: for good; paused: it wants nothing more; cancelled: broken off at an end.
    """

    object: Literal["delivery"] = "delivery"
    id: int
    plugin: str
    source: str
    job_id: str | None
    event_id: str
    event_type: str | None
    position: int
    number: int
    redelivery: int | None
    at: float
    seconds: float
    outcome: str
    status: int | None
    reason: str | None
    answer: str | None


class DeliveryList(Listed, frozen=True, kw_only=True):
    """Attempts to deliver, newest first."""

    data: tuple[DeliveryAnswer, ...]


class DeadLetterAnswer(Struct, frozen=True, kw_only=True):
    """Events of one job that a plugin did not get, first to last."""

    object: Literal["dead_letter"] = "dead_letter"
    id: int
    plugin: str
    source: str
    job_id: str | None
    first_position: int
    last_position: int
    first_sequence: int
    last_sequence: int
    event_id: str
    event_type: str | None
    tries: int
    reason: str
    at: float
    closed_at: float | None


class DeadLetterList(Listed, frozen=True, kw_only=True):
    """Dead letters, newest first."""

    data: tuple[DeadLetterAnswer, ...]


class RedeliveryAnswer(Struct, frozen=True, kw_only=True):
    """What was asked to be delivered again, and what became of it so far.

    `accepted` are events, as far as the delivery log reaches back; `left` and `refused`
    are stretches of events, each of one job.
    """

    object: Literal["redelivery"] = "redelivery"
    id: int
    at: float
    by: str
    asked: dict[str, Any]
    events: int
    accepted: int
    left: int
    refused: int
    reason: str | None


class RedeliveryList(Listed, frozen=True, kw_only=True):
    """Redeliveries, newest first."""

    data: tuple[RedeliveryAnswer, ...]


class AuditAnswer(Struct, frozen=True, kw_only=True):
    """What somebody had done, through the API or by a command beside the daemon."""

    object: Literal["audit"] = "audit"
    id: int
    at: float
    by: str
    what: str
    about: str | None
    outcome: str


class AuditList(Listed, frozen=True, kw_only=True):
    """What people had done, newest first."""

    data: tuple[AuditAnswer, ...]


class PlannedEvent(Struct, frozen=True, kw_only=True):
    """One event that would be delivered again."""

    plugin: str
    source: str
    job_id: str | None
    event_id: str
    event_type: str
    position: int
    letter: int | None


class PlanAnswer(Struct, frozen=True, kw_only=True):
    """What goes out again. Without an id it was not asked for, or it is nothing.

    `under_way` are events that wait to go out since before; `refused` says what cannot
    be done; `first` shows the first events of a dry run.
    """

    object: Literal["redelivery_plan"] = "redelivery_plan"
    id: int | None
    events: int
    jobs: int
    plugins: tuple[str, ...]
    under_way: int
    refused: tuple[str, ...]
    first: tuple[PlannedEvent, ...]
