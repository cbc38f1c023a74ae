"""What goes into and comes out of the store, and how it fails.

Plain values only: no connection and no SQL here.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec import Struct

from tunewatch.diff.state import JobState
from tunewatch.model import Job
from tunewatch.plugin import StateAway


class StoreFault(Exception):
    """The store cannot do what was asked. `reason` is fit for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StoreInUse(StoreFault):
    """Another daemon holds this SQLite file."""


class StoreUnusable(StoreFault):
    """The store is damaged, of a later version, or not ours: says what to do."""


class StoreUnavailable(StoreFault, StateAway):
    """Nothing can be written or read for now (disk full, database away): try again."""


class StoreBroken(StoreFault):
    """A sync to disk failed: what is on disk is unknown, the process must end."""


class LeaseLost(StoreFault):
    """The fence did not hold: another replica has the source. Nothing was written."""


class Fence(NamedTuple):
    """The right to write for a source, checked by every writing transaction."""

    source_id: int
    token: int


class EventRef(NamedTuple):
    """A committed event, as dispatch needs it."""

    position: int
    source_id: int
    job_key: int  #: 0 for events of the source itself
    type: str
    id: str
    derived: bool
    metadata: bytes | None  #: the job's metadata as JSON, for subscriptions
    body: bytes


class Committed(Struct, frozen=True, kw_only=True):
    """What became of one observation."""

    job_id: str
    job_key: int
    outcome: Literal["committed", "stale", "foreign", "tombstone", "unconfirmed"]
    """stale: a later look was committed before. foreign: another source owns the job.
    tombstone: retention purged it, it stays purged. unconfirmed: see `diff.Delta`."""
    changed: bool
    absent: frozenset[str]
    events: tuple[EventRef, ...]
    job: Job | None  #: as it is now; None: of itself nothing was said, or there is none
    state: JobState
    owner: str | None = None  #: foreign: the name of the source that owns it


class JobFault(Struct, frozen=True, kw_only=True):
    """An observation that could not be committed although others could."""

    job_id: str
    reason: str


class SourceRow(NamedTuple):
    """A source as the store keeps it."""

    id: int
    name: str
    kind: str
    realm: str
    first_contact_at: float
    backfill_before: float
    walk_cursor: str | None
    walked: bool


class TrackedJob(NamedTuple):
    """A job that is not settled, as the poller needs it after a start."""

    key: int
    id: str
    job: Job
    state: JobState
    created_at: int


class PeekedJob(NamedTuple):
    """A known job as a page of the list is judged against it."""

    key: int
    id: str
    source_id: int
    owner: str  #: the name of the source that owns it
    job: Job
    state: JobState
