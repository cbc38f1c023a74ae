"""What the poller remembers of a job that is not settled.

Only memory: after a restart it is made anew from the store, and its windows begin
again. All times are of the monotonic clock.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from tunewatch import pace
from tunewatch.diff import NEW, JobState
from tunewatch.diff.changes import UPDATED_FIELDS
from tunewatch.model import Job, JobStatus
from tunewatch.poller.walk import EntryWalk

NEVER = float("-inf")
_NOTHING: dict[str, Any] = {}
"""Shared by all: an empty dict each would be a megabyte among ten thousand."""
_NONE_ABSENT: Mapping[str, float] = MappingProxyType({})
_told = {field.name: field.type for field in msgspec.structs.fields(Job)}
_Told = msgspec.defstruct(
    "_Told", [(name, _told[name]) for name in UPDATED_FIELDS], array_like=True
)
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Told).decode


class Outline(NamedTuple):
    """What of a job every look needs."""

    id: str
    status: str  #: verbatim
    created_at: int | None
    result_files: tuple[str, ...]

    @property
    def state(self) -> JobStatus:
        """The status as a member."""
        return JobStatus(self.status)

    @classmethod
    def of(cls, job: Job) -> Outline:
        """Return the outline of a job."""
        return cls(job.id, sys.intern(job.status), job.created_at, job.result_files)


class Tracked:
    """One job under watch. There may be ten thousand: most of it is kept packed."""

    __slots__ = (
        "_packed",
        "absent",
        "brought",
        "digest",
        "doubted_at",
        "due",
        "entries_digest",
        "failures",
        "file_first_tried",
        "file_looked",
        "file_missed",
        "file_next",
        "file_rows",
        "ground",
        "is_awaited",
        "is_covered",
        "is_looking",
        "key",
        "listed",
        "looks",
        "malformed",
        "misses",
        "missing_since",
        "needs_retrieve",
        "outline",
        "quiet_since",
        "rank",
        "seen_at",
        "state",
        "unchanged_since",
        "walk",
        "was_quiet",
    )

    def __init__(self, job: Job, *, now: float, state: JobState = NEW) -> None:
        self.take(job, state)
        self.key: int | None = None
        self.due = now
        self.seen_at = NEVER  #: when the last look began
        self.is_looking = False
        self.is_awaited = False  #: somebody asked to look at it now
        self.looks = 0
        self.failures = 0
        self.needs_retrieve = True  #: somebody said otherwise since the last retrieve
        self.listed: str | None = None  #: the status that the list showed last
        self.is_covered = False  #: the last pages read showed its status
        self.rank: int | None = None  #: place in the list, from 0
        self.digest = b""  #: of its item on the list
        self.entries_digest = b""  #: of the newest page of its events
        self.ground = b""  #: known events, as a walk knows them again
        self.brought: int | None = None  #: events that the last look found new
        self.malformed = 0  #: events that could not be read, of the last walk
        self.walk: EntryWalk | None = None  #: one that broke off
        self.was_quiet = False  #: the last look brought nothing
        self.unchanged_since = now
        self.quiet_since: float | None = None  #: first complete look without change
        self.absent = _NONE_ABSENT  #: checkpoints missing from a complete list
        self.doubted_at: float | None = None  #: said to go on although it had ended
        self.misses = 0  #: answers "no such job" in a row
        self.missing_since: float | None = None
        self.file_first_tried: float | None = None
        self.file_missed: str | None = None  #: the file whose absence was said
        self.file_next = NEVER  #: when a late result file is asked for again
        self.file_looked = NEVER  #: the look, by number, that read a growing one last
        self.file_rows: tuple[str, int] | None = None  #: that one, and its rows then

    def take(self, job: Job | None, state: JobState) -> None:
        """Take over what was committed; no job: it is as it was."""
        if job is not None:
            self.outline = Outline.of(job)
            self._packed = _pack([getattr(job, name) for name in UPDATED_FIELDS])
        # Values and counts are for the diff, which reads them from the store.
        self.state = msgspec.structs.replace(state, counts=_NOTHING, latest=_NOTHING)

    @property
    def id(self) -> str:
        """The job's id."""
        return self.outline.id

    @property
    def told(self) -> Any:
        """The job as it was committed last: the fields whose changes are told."""
        return _unpack(self._packed)

    @property
    def status(self) -> JobStatus:
        """What the job is doing as far as is known."""
        return self.outline.state

    @property
    def is_first_look(self) -> bool:
        """Whether no look at it was ever complete enough to tell its status."""
        return self.state.told_status is None or self.state.silent

    def is_slow(self, now: float) -> bool:
        """Whether it says the same unknown word for so long that pages are enough."""
        return (
            self.status is JobStatus.UNKNOWN
            and now - self.unchanged_since >= pace.UNKNOWN_AFTER
        )

    def is_active(self, now: float) -> bool:
        """Whether news of it are to be expected soon."""
        return not self.state.settled and not self.is_slow(now)

    def asks_for_retrieve(self, now: float) -> bool:
        """Whether the pages of the list are not enough to know how it is."""
        return (
            self.needs_retrieve
            or not self.is_covered
            or self.status.is_terminal
            or self.listed not in {None, self.outline.status}
            or self.is_slow(now)
        )

    def missing_files(self) -> list[str]:
        """Return the result files that are named and not yet read."""
        named = self.outline.result_files
        return [name for name in named if name not in self.state.files]

    def may_settle_without_file(self, now: float) -> bool:
        """Whether the patience with an absent or refused result file is over."""
        first = self.file_first_tried
        return first is not None and now - first >= pace.FILE_PATIENCE

    def walked(self, walk: EntryWalk | None) -> None:
        """Note that what a walk over its events found is committed."""
        self.walk = None
        self.entries_digest = b"" if walk is None else walk.digest
        if walk is not None and walk.ground:
            self.ground = walk.ground

    def note_absent(self, checkpoints: Collection[str], now: float) -> None:
        """Note which checkpoints a complete list did not have, and since when."""
        absent = {name: self.absent.get(name, now) for name in checkpoints}
        self.absent = absent or _NONE_ABSENT

    def miss(self, now: float) -> None:
        """Note an answer "no such job"."""
        self.misses += 1
        if self.missing_since is None:
            self.missing_since = now

    def found(self) -> None:
        """Note that it is there."""
        self.misses = 0
        self.missing_since = None

    def is_missing(self, now: float) -> bool:
        """Whether it was missing often and long enough to be gone."""
        since = self.missing_since
        return (
            self.misses >= pace.REMOVED_TIMES
            and since is not None
            and now - since >= pace.REMOVED_AFTER
        )
