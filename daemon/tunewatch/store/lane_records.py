"""What goes into and comes out of a transaction over lanes: plain values, no SQL."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct, field

from tunewatch.plugin import Derived
from tunewatch.store.heads import Heads, Reach
from tunewatch.store.records import EventRef
from tunewatch.store.redelivery import Ended


class LaneRow(NamedTuple):
    """A lane as it is kept. Keys below 0 are redeliveries: minus the stretch's id."""

    job_key: int
    cursor: int  #: position finished
    tries: int = 0  #: spent by the event after the cursor
    first_failure_at: float | None = None
    wait: float | None = None  #: s, the length of the wait
    wait_until: float | None = None
    crashes: int = 0
    last_error: str | None = None

    @property
    def troubled(self) -> bool:
        """Whether it must be kept wherever the mark is."""
        return self.tries > 0 or self.crashes > 0


class MarkRow(NamedTuple):
    """How far a plugin has come at a source, and what was out at the last write."""

    plugin: str
    position: int
    in_flight: list[int]  #: positions; of redeliveries the keys of their lanes


class PluginRow(NamedTuple):
    """What outlives a process of a plugin's state."""

    name: str
    state: str  #: up, paused
    reason: str | None
    since: float
    settings_digest: str


class Burial(NamedTuple):
    """Events of one lane that become one dead letter."""

    job_key: int
    first: int  #: position
    last: int
    tries: int
    reason: str


class Attempt(NamedTuple):
    """One call of a plugin and what it came to, as the delivery log keeps it."""

    job_key: int
    position: int
    event_id: str
    number: int  #: of the try, from 1
    redelivery: int | None  #: the request it was made for, None: a first delivery
    at: float  #: unix seconds when it began
    seconds: float
    outcome: str
    status: int | None  #: the receiver's, in its own terms
    reason: str | None  #: None if it was accepted
    answer: str | None  #: the beginning of what the receiver said


class Ask(NamedTuple):
    """The question for the next events of a lane, the first of which goes out."""

    lane: int  #: its key
    reach: Reach


class Turn(Struct, frozen=True, kw_only=True):
    """What one plugin has done, and what it is given next."""

    plugin: str
    mark: int
    reacts: bool = False  #: a reactor: the revisions of its jobs are asked for
    in_flight: tuple[int, ...]  #: still out and going out, as in `MarkRow`
    asks: tuple[Ask, ...] = ()  #: their first answers go out too
    rows: tuple[LaneRow, ...] = ()
    gone: tuple[int, ...] = ()  #: keys of lanes whose row is not needed any more
    sweep: bool = False  #: remove all rows that the mark has passed
    burials: tuple[Burial, ...] = ()
    attempts: tuple[Attempt, ...] = ()


class Conclusion(Struct, frozen=True, kw_only=True):
    """What a reactor concluded, with the acknowledgement of the cause."""

    plugin: str
    job_key: int
    row: LaneRow  #: of the lane, which may be a redelivery
    revision: int  #: of the job, read before the reactor was called
    cause: str  #: id of the event
    derived: tuple[Derived, ...]


class Group(Struct, frozen=True, kw_only=True):
    """Everything that goes into one transaction."""

    at: float
    again: bool = False  #: the outcome of an earlier try is unknown
    turns: tuple[Turn, ...] = ()
    conclusions: tuple[Conclusion, ...] = ()
    bodies: tuple[int, ...] = ()  #: positions whose events are asked for
    revisions: tuple[int, ...] = ()  #: job keys: reactors are called for them next
    plugins: tuple[PluginRow, ...] = ()
    ended: tuple[Ended, ...] = ()  #: redeliveries that are over


class Settled(Struct, frozen=True, kw_only=True):
    """What came of a group."""

    events: dict[int, EventRef]  #: by position
    heads: dict[tuple[str, int], Heads]  #: by plugin and lane
    refused: frozenset[int]  #: indexes of conclusions whose job moved: ask again
    derived: tuple[EventRef, ...]
    revisions: dict[int, int] = field(default_factory=dict)
