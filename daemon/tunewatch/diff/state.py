"""What the diff compares: a job as it was kept, and one look at it.

Windows of time arrive as elapsed seconds: nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct, field

from tunewatch.events import Happening
from tunewatch.model import Checkpoint, Entry, MetricPoint


class Latest(NamedTuple):
    """A metric's value at the highest step that has it."""

    step: int
    value: float


class JobState(Struct, frozen=True, kw_only=True):
    """What is kept of a job beside its raw item, points and checkpoints."""

    told_status: str | None = None  #: last one told; None: first look not complete
    silent: bool = False  #: ended before the backfill point, recorded without a word
    settled: bool = False
    removed: bool = False
    counts: dict[str, int] = field(default_factory=dict)  #: n-th time, by event type
    points: int = 0  #: ordinal of the last point
    step: int | None = None  #: highest step seen
    total_steps: int | None = None
    latest: dict[str, Latest] = field(default_factory=dict)
    started_at: int | None = None  #: unix seconds, first seen running
    status_changed_at: int | None = None  #: unix seconds
    last_event_at: int | None = None  #: unix seconds of the newest API event
    trained_tokens: int = 0  #: the most that was said: totals take each only once
    files: tuple[str, ...] = ()  #: result files whose points are in


NEW = JobState()
"""A job that nobody has seen."""


class Observation(Struct, frozen=True, kw_only=True):
    """One look at one job, or one part of a look that had to be cut.

    `entries` are oldest first and may contain known ones; they come from a walk that
    reached known ground or the end, never from an unfinished one.
    """

    job_id: str
    look: (
        int  #: counter of this lease term; one older than the last committed is dropped
    )
    at: float  #: unix seconds of the look
    raw: bytes | None = None  #: the provider's item, if it was asked for
    silent: bool = False  #: record without a word: it ended before the backfill point
    entries: tuple[Entry, ...] = ()
    checkpoints: tuple[Checkpoint, ...] | None = None  #: a complete list, if listed
    file_id: str | None = None  #: the result file that `file_points` come from
    file_points: tuple[MetricPoint, ...] = ()
    file_open: bool = False  #: it may grow: it is read again until the job is settled
    partial: bool = False  #: further parts of this look follow: state stays
    complete: bool = False  #: job + events + checkpoints (+ result file)
    quiet_for: float | None = None  #: s since the first complete look without change
    settle_window: float = 0.0  #: s a job must have been quiet to settle
    absent_for: dict[str, float] = field(default_factory=dict)
    """Per checkpoint id: s since the first complete list it was absent from."""
    absent_after: float = 0.0  #: s a checkpoint must be absent to be removed
    confirmed: bool = False  #: a second retrieve said that an ended job goes on
    gone: bool = False  #: three 404 over 15 min while the list works


class Known(Struct, frozen=True, kw_only=True):
    """What the store knows that bears on one observation."""

    entries: frozenset[str] = frozenset()  #: of the observation's, already committed
    filled: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """Per step the metric keys that points have; read only if a file is in the look."""
    checkpoints: Mapping[str, Checkpoint] = field(default_factory=dict)  #: listed ones


class Delta(Struct, frozen=True, kw_only=True):
    """What an observation changes."""

    happenings: tuple[Happening, ...]  #: in the order they are told
    after: JobState
    entries: tuple[str, ...] = ()  #: ids that become known
    points: tuple[MetricPoint, ...] = ()  #: with their ordinals
    checkpoints: tuple[Checkpoint, ...] = ()  #: new, or changed silently
    removed_checkpoints: tuple[str, ...] = ()
    absent: frozenset[str] = frozenset()  #: known checkpoints that were not listed
    unconfirmed: bool = False  #: says that an ended job goes on: ask once more, wait
    keep_raw: bool = True  #: whether the job's raw item is replaced
    backfilled: bool = False  #: marks the events: the first look at an older job
    changed: bool = False  #: anything told or stored that a listener could care for


__all__ = ["NEW", "Delta", "JobState", "Known", "Latest", "Observation"]
