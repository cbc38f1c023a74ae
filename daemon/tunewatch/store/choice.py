"""What a person means by a redelivery, and what that comes to: plain values.

No connection and no SQL here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from msgspec import Struct


class Selection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which events are to be delivered again.

    Events or dead letters by name; else, with `dead`, every open dead letter; else a
    range of one plugin's events. The other fields narrow letters and ranges down.
    """

    events: tuple[str, ...] = ()  #: ids; without a plugin: to those that buried them
    letters: tuple[int, ...] = ()  #: ids of dead letters
    dead: bool = False  #: open dead letters; `since` and `until` are when they died
    missed: bool = False  #: of a range, what was committed before the plugin was there
    plugin: str | None = None
    source: str | None = None
    job: str | None = None
    types: tuple[str, ...] = ()  #: types, globs and groups
    since: float | None = None  #: unix seconds: committed, or buried, then or later
    until: float | None = None  #: and before that
    first: int | None = None  #: position of the first event of a range
    last: int | None = None


class Subscribed(Protocol):
    """A plugin as it is configured: `host.Instance` is one."""

    @property
    def name(self) -> str:
        """The instance's name."""
        ...

    @property
    def events(self) -> tuple[str, ...]:
        """The types, globs and groups it gets."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the metadata of its jobs must have."""
        ...

    def hears(self, source: str) -> bool:
        """Whether it is subscribed to a source at all."""
        ...


class CannotChoose(Exception):
    """A selection that means nothing: an unknown plugin, no range … Says what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Stretch(NamedTuple):
    """Events of one job in order, for one plugin: what is delivered as one."""

    plugin: str
    source_id: int
    job_key: int
    first: int  #: position
    last: int
    letter: int = 0  #: the dead letter that is closed by it, 0: none
    named: bool = False  #: whatever the plugin is subscribed to
    types: tuple[str, ...] = ()  #: only these
    events: int = 1  #: how many it has

    @property
    def where(self) -> tuple[str, int, int]:
        """The lane it belongs beside."""
        return self.plugin, self.source_id, self.job_key


class Plan(Struct, frozen=True, kw_only=True):
    """What a selection comes to now."""

    selection: Selection
    stretches: tuple[Stretch, ...]
    refused: tuple[str, ...] = ()  #: what was meant and cannot be done, with reasons
    under_way: int = 0  #: events that were asked for before and wait to go out

    @property
    def events(self) -> int:
        """How many events would go out."""
        return sum(one.events for one in self.stretches)


class Line(NamedTuple):
    """One event of a plan, for people."""

    plugin: str
    source: str
    job_id: str | None
    event_id: str
    event_type: str
    position: int
    letter: int | None  #: the dead letter that would be closed
