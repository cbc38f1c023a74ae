"""The public contract for plugin authors.

A plugin is a value of type `Plugin`, named by an entry point of group
`tunewatch.plugins`. Built-in and third-party plugins are the same thing. This module
knows what a plugin is given and what it may answer; it does not know how plugins are
found, opened, retried or fed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

from tunewatch.events import Event
from tunewatch.model import Job, Selection, Snapshot
from tunewatch.settings import Duration, Secret

if TYPE_CHECKING:
    # A plugin that has no use for them should not pay for importing them.
    from prometheus_client import CollectorRegistry
    from structlog.typing import FilteringBoundLogger

SettingsT = TypeVar("SettingsT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the receiver answered, for the delivery log; nothing is judged by it."""

    status: int | None = None  #: in the receiver's own terms, such as HTTP's
    answer: str = ""  #: the beginning of what it said, free of secrets


class Refusal(Exception):
    """Why an event was not taken: one of the three below.

    `reason` is fit for anyone to read; `receipt` is what the receiver answered, if it
    answered at all.
    """

    def __init__(self, reason: str, *, receipt: Receipt | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.receipt = receipt


class Retry(Refusal):
    """Say that the delivery did not work and may be tried again.

    `scope="plugin"`: the receiver is in trouble (network, 5xx, 401, 404 …); nothing is
    held against the event, the whole plugin waits and probes. `scope="lane"`: this
    event is in trouble (400, 413 …); only its job's lane waits, and it spends one of
    the event's tries.

    `after` is what the receiver asked for, in seconds.
    """

    def __init__(
        self,
        reason: str,
        *,
        after: float | None = None,
        scope: Literal["plugin", "lane"] = "plugin",
        receipt: Receipt | None = None,
    ) -> None:
        super().__init__(reason, receipt=receipt)
        self.after = after
        self.scope = scope


class Reject(Refusal):
    """Say that this event can never be delivered: it becomes a dead letter at once."""


class Pause(Refusal):
    """Say that the receiver wants nothing more (HTTP 410): the plugin is paused.

    It stays so, across restarts, until its settings change or
    `tunewatch plugins resume NAME`. The event waits.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One try to hand one event to one plugin."""

    event: Event
    body: bytes = field(repr=False)  #: as it goes over the wire, the same at every try
    attempt: int = 1  #: from 1
    redelivered: bool = False  #: asked for by a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """An event that a reactor concludes. `type` must be one of the catalogue's."""

    type: str
    data: Mapping[str, Any]


class Sink(Protocol):
    """Takes events somewhere."""

    async def deliver(self, delivery: Delivery) -> Receipt | None:
        """Hand the event over; return only when the receiver has it for good.

        What is returned goes into the delivery log. May be called again with the same
        event. Raises `Retry`, `Reject` or `Pause`; anything else is logged with its
        traceback and taken for trouble of the receiver.
        """
        ...


class Reactor(Protocol):
    """Concludes further events from events. Never handed derived ones."""

    async def react(self, delivery: Delivery) -> Sequence[Derived]:
        """Return what follows; it is committed with this event's acknowledgement.

        May be called again with the same event, if the job changed in between.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a view answers to a GET."""

    body: bytes = field(repr=False)
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path that a view answers. Only GET; headers have lower-case names."""

    path: str
    respond: Callable[[Mapping[str, str]], Awaitable[Answer]]


class View(Protocol):
    """Only reads: answers HTTP requests from the current state."""

    def routes(self) -> Iterable[Route]:
        """Return the paths it answers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job as an overview shows it: cheap to read for thousands of jobs."""

    source: str
    realm: str
    job: Job
    settled: bool
    started_at: int | None  #: unix seconds when it was first seen running
    status_changed_at: int | None  #: unix seconds
    last_event_at: int | None  #: unix seconds of the newest API event
    step: int | None  #: highest step seen
    total_steps: int | None
    latest: Mapping[str, float]  #: per metric, at the highest step that has it
    selection: Selection | None
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A total that only grows, kept in the store: it survives restarts.

    `name` is the metric's name without prefix and suffix (`jobs_finished`).
    """

    name: str
    labels: Mapping[str, str]
    value: float


class JobReader(Protocol):
    """Reads the committed state. Nothing here can change anything."""

    async def snapshot(self, source: str, job_id: str) -> Snapshot | None:
        """Return one job with its points, checkpoints and selection at one revision."""
        ...

    async def window(self, *, finished_within: float, limit: int) -> Sequence[JobRow]:
        """Return the jobs that are not settled, or ended at most so many seconds ago.

        Failed jobs stay at least an hour. Newest first, at most `limit`.
        Only sources whose lease this replica holds.
        """
        ...

    async def counts(self) -> Sequence[Count]:
        """Return the totals that the store keeps across restarts, since it was made."""
        ...


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> float:
        """Return unix seconds of the wall clock."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never steps."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a plugin is lent while it is open."""

    name: str  #: the instance's name: the table in the configuration
    log: FilteringBoundLogger
    state_dir: Path  #: a private cache: local to a replica, possibly empty
    jobs: JobReader
    clock: Clock
    registry: CollectorRegistry  #: the daemon's own metrics
    timeout: float = 15.0  #: s that one delivery may take before it is cut off


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin(Generic[SettingsT]):
    """A plugin as its entry point names it."""

    settings: type[SettingsT]  #: a pydantic model with `extra="forbid"`
    events: tuple[str, ...]  #: the default subscription: types, globs, @groups
    open: Callable[
        [SettingsT, Context], AbstractAsyncContextManager[Sink | Reactor | View]
    ]


__all__ = [
    "Answer",
    "Clock",
    "Context",
    "Count",
    "Delivery",
    "Derived",
    "Duration",
    "JobReader",
    "JobRow",
    "Pause",
    "Plugin",
    "Reactor",
    "Receipt",
    "Refusal",
    "Reject",
    "Retry",
    "Route",
    "Secret",
    "SettingsT",
    "Sink",
    "View",
]
