"""The public contract for plugin authors.

A plugin is a value of type `Plugin`, named by an entry point of group
`tunewatch.plugins`. Built-in and third-party plugins are the same thing. This module
knows what a plugin is given and what it may answer; it does not know how plugins are
found, opened, retried or fed.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Protocol,
    TypeVar,
)

from pydantic import BaseModel

from tunewatch.counting import (
    DURATION_BOUNDS,
    ERROR_CODES,
    METHODS,
    counted_bucket,
    counted_code,
    counted_method,
    root_model,
)
from tunewatch.events import Event, MetricsRecorded
from tunewatch.glance import BestGlance, JobGlance, JobKind, JobRow, WindowPart
from tunewatch.model import Snapshot
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
    """Concludes further events from events. Never handed derived ones.

    May be `Choosy`, too.
    """

    async def react(self, delivery: Delivery) -> Sequence[Derived]:
        """Return what follows; it is committed with this event's acknowledgement.

        May be called again with the same event, if the job changed in between.
        """
        ...


class Choosy(Protocol):
    """A reactor that knows which metrics it concludes nothing from.

    They are the most of all events: each that it need not be handed saves two
    transactions.
    """

    def heeds(self, metrics: MetricsRecorded) -> bool:
        """Whether recorded metrics may lead to a conclusion. Pure and quick.

        Where it says no, `react` need not be called: it may still be, after a restart
        or by a redelivery.
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
class Count:
    """A total that only grows, kept in the store: it survives restarts.

    `name` is the metric's name without prefix and suffix (`jobs_finished`). A histogram
    `x` is kept as `x_bucket`, each value only in the lowest bound `le` that holds it,
    and `x_sum`; the bounds are `DURATION_BOUNDS` and `+Inf`.
    """

    name: str
    labels: Mapping[str, str]
    value: float


class StateAway(Exception):
    """The committed state cannot be read for now: try again later.

    The daemon says so itself, in its log and by `/readyz`; a plugin need not.
    """


class JobReader(Protocol):
    """Reads the committed state. Nothing here can change anything.

    Raises StateAway while the store is away.

    All but `snapshot` tell only of what the plugin is subscribed to, by `sources` and
    `metadata` of its table.
    """

    async def snapshot(self, source: str, job_id: str) -> Snapshot | None:
        """Return one job with its points, checkpoints and selection at one revision."""
        ...

    async def window(self, *, finished_within: float, limit: int) -> Sequence[JobRow]:
        """Return the jobs that are not settled, or ended at most so many seconds ago.

        Failed jobs stay at least an hour. At most `limit`: those that go on first, and
        newest first. Only sources whose lease this replica holds.
        """
        ...

    def window_parts(
        self, *, finished_within: float, limit: int
    ) -> AsyncIterator[WindowPart]:
        """Yield the same jobs some at a time, and of those beyond the limit the number.

        For thousands of jobs: at a glance, only a part of them in memory at once, and
        the event loop has its turn in between. Each part is as it is when it is read,
        and if all jobs are within the limit they come in any order.
        """
        ...

    async def sources(self) -> Sequence[str]:
        """Return the names of the sources whose lease this replica holds."""
        ...

    async def counts(self) -> Sequence[Count]:
        """Return the totals that the store keeps across restarts, since it was made.

        Only of sources whose lease this replica holds: each has one place to be shown.
        None for a plugin that is told of jobs with some metadata: they are not told
        apart by it, so a total would be of other jobs, too.
        """
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
    metadata: Mapping[str, str] = field(default_factory=dict)  #: of all jobs it is lent


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin(Generic[SettingsT]):
    """A plugin as its entry point names it."""

    settings: type[SettingsT]  #: a pydantic model with `extra="forbid"`
    events: tuple[str, ...]  #: the default subscription: types, globs, @groups
    open: Callable[
        [SettingsT, Context], AbstractAsyncContextManager[Sink | Reactor | View]
    ]


__all__ = [
    "DURATION_BOUNDS",
    "ERROR_CODES",
    "METHODS",
    "Answer",
    "BestGlance",
    "Choosy",
    "Clock",
    "Context",
    "Count",
    "Delivery",
    "Derived",
    "Duration",
    "JobGlance",
    "JobKind",
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
    "StateAway",
    "View",
    "WindowPart",
    "counted_bucket",
    "counted_code",
    "counted_method",
    "root_model",
]
