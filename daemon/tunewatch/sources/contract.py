"""What a source is: the only place that knows a URL, header, status code or cursor.

A source hands over neutral facts, with the provider's own words kept beside them.
Nothing above this floor may assume a particular provider.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from msgspec import Struct
from pydantic import BaseModel

from tunewatch.model import Checkpoint, Entry, Job, MetricPoint

ItemT = TypeVar("ItemT")


class SourceFault(Exception):
    """A request got no usable answer. `reason` is for a person and has no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refused(SourceFault):
    """The provider refuses the key (401, 403): asking again soon helps nobody."""


class Unavailable(SourceFault):
    """No answer for now: 408, 429, 5xx, network, timeout.

    `after` is what the provider asked for in seconds, None if it did not say.
    """

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Unreadable(SourceFault):
    """An answer that is not what the API promises (HTML, cut JSON, wrong type)."""


class Missing(SourceFault):
    """The thing asked for does not exist (404)."""


class RawJob(Struct, frozen=True):
    """One job of an answer, not decoded: most of them have not changed."""

    raw: bytes
    digest: bytes  #: equal for equal bytes, in one process, and for no others


class Page(Struct, Generic[ItemT], frozen=True, kw_only=True):
    """One page of a list, newest first as it came."""

    items: Sequence[ItemT]
    cursor: str | None  #: hand it in as `after` for older items; None at the end
    ids: Sequence[str] | None = None
    """Of the items, where they are decoded only when they are looked at, which may then
    raise Unreadable: of a page of events most are known. None: ask the items."""
    malformed: int = 0  #: items that could not be read: counted, logged once, left out
    digest: bytes = b""  #: of the whole page: equal pages need no second look
    count: int = 0  #: items on the page, readable or not


class Call(Struct, frozen=True, kw_only=True):
    """One request as it went, for telemetry and for the clock check."""

    endpoint: str  #: jobs, job, events, checkpoints, file
    seconds: float
    outcome: str  #: ok, or the fault's class in lower case
    status: int | None = None
    remaining_requests: int | None = None  #: x-ratelimit-remaining-requests
    limit_requests: int | None = None
    reset_after: float | None = None  #: seconds, x-ratelimit-reset-requests
    clock_offset: float | None = None  #: seconds our clock is ahead of the Date header
    malformed: int = 0  #: items or rows of the answer that could not be read


class Source(Protocol):
    """One key's view of a provider.

    Every method makes exactly one request and raises `Refused`, `Unavailable`,
    `Unreadable` or `Missing`; retrying is the poller's. Cancellation is safe.
    """

    @property
    def name(self) -> str:
        """The name of the source in the configuration."""
        ...

    @property
    def realm(self) -> str:
        """Where its jobs live: provider and API origin."""
        ...

    async def list_jobs(self, *, after: str | None, limit: int) -> Page[RawJob]:
        """Return jobs, newest first."""
        ...

    async def retrieve_job(self, job_id: str) -> RawJob:
        """Return one job as it is now."""
        ...

    async def list_entries(
        self, job_id: str, *, after: str | None, limit: int
    ) -> Page[Entry]:
        """Return a job's events, newest first."""
        ...

    async def list_checkpoints(
        self, job_id: str, *, after: str | None, limit: int
    ) -> Page[Checkpoint]:
        """Return a job's checkpoints, newest first."""
        ...

    async def result_points(self, file_id: str) -> tuple[MetricPoint, ...]:
        """Return the points of a result file, by step."""
        ...

    def identify(self, raw: bytes) -> str:
        """Return the id of a raw job without decoding the rest.

        Raises Unreadable if it has none.
        """
        ...

    def decode(self, raw: bytes) -> Job:
        """Return the job of a raw item. Pure. Raises Unreadable."""
        ...


def files_grow(source: Source) -> bool:
    """Whether result files are named while a job runs, and grow until after its end.

    A source says so by an attribute `files_grow = True`; one without it says no: its
    files are there once and whole.
    """
    return getattr(source, "files_grow", False) is True


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContext:
    """What a source is lent while it is open."""

    name: str
    secret: Callable[[], str | None]  #: the key as it is now; files are re-read
    observe: Callable[[Call], None]  #: told of every request
    http: object  #: the HTTP client shared by all sources (see `sources.http`)
    now: Callable[[], float] = time.time  #: unix seconds, as the daemon dates things


class Project(Struct, frozen=True, kw_only=True):
    """One project of an organisation, as its administrators see it."""

    id: str
    title: str = ""
    is_archived: bool = False


class Projects(Protocol):
    """An admin key's view of an organisation: which projects there are, and no job."""

    async def list_projects(self, *, after: str | None, limit: int) -> Page[Project]:
        """Return projects, archived ones too. One request; raises a source's faults."""
        ...


class Announcement(Struct, frozen=True, kw_only=True):
    """What a provider's webhook says, once it is proved to be the provider's.

    A reason to look, and no more than that: no fact is taken from it.
    """

    id: str  #: the provider's own, the same for every repeat
    job_id: str | None = None  #: None: it is about nothing that is watched here


class Unverified(Exception):
    """Nothing proves that the provider sent it. `reason` is for the operator's log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """How a kind reads the webhooks of its provider. Pure, and knows no server."""

    check: Callable[[str], None]
    """Judges the text of a secret (one or several, one a line). Raises
    `settings.Wanted` if it holds none, or one that cannot be used."""

    read: Callable[[Mapping[str, str], bytes, str, float], Announcement]
    """Returns what a request says, from its headers (names in lower case), its body,
    the text of the secret, and the unix time. Raises Unverified for whatever is not
    signed with one of the secrets just now, Unreadable for what is signed and is not
    what the provider promises."""


SettingsT = TypeVar("SettingsT", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Organizing(Generic[SettingsT]):
    """How a kind reads which projects an organisation has."""

    open: Callable[[SettingsT, SourceContext], AbstractAsyncContextManager[Projects]]
    """Opens a view of the organisation; `SourceContext.secret` is the admin key."""

    is_project: Callable[[str], bool]  #: whether a text may be the id of a project


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind(Generic[SettingsT]):
    """A kind of source as its entry point (group `tunewatch.sources`) names it."""

    settings: type[SettingsT]  #: pydantic, `extra="forbid"`: only the kind's own keys
    open: Callable[[SettingsT, SourceContext], AbstractAsyncContextManager[Source]]
    webhooks: Webhooks | None = None  #: None: its provider sends none
    organizing: Organizing[SettingsT] | None = None  #: None: it has no projects
