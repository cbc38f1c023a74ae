"""Fresh events in memory, so that many plugins read and decode each one once.

A cache and nothing else: what is not here is read from the journal.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from tunewatch import events
from tunewatch.store.records import EventRef

ROOM = 4 * 2**20
"""Bytes of memory that parcels may take, by estimate."""


class Parcel:
    """One event as it is delivered: the bytes, and the event they say."""

    __slots__ = ("_event", "ref")

    def __init__(self, ref: EventRef) -> None:
        self.ref = ref
        self._event: events.Event | None = None

    @property
    def event(self) -> events.Event:
        """The decoded event. Raises msgspec.ValidationError if it is none."""
        if self._event is None:
            self._event = events.decode(self.ref.body)
        return self._event


class Parcels:
    """The events that were committed or read last, as far as there is room."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._taken = 0
        self._parcels: OrderedDict[int, Parcel] = OrderedDict()

    def add(self, refs: Iterable[EventRef]) -> None:
        """Keep events; the oldest ones make room."""
        for ref in refs:
            if ref.position not in self._parcels:
                self._parcels[ref.position] = Parcel(ref)
                self._taken += _size(ref)
        while self._taken > self._room:
            _, old = self._parcels.popitem(last=False)
            self._taken -= _size(old.ref)

    def get(self, position: int) -> Parcel | None:
        """Return the event at a position if it is here."""
        return self._parcels.get(position)

    def __len__(self) -> int:
        return len(self._parcels)


def _size(ref: EventRef) -> int:
    # The body, about thrice of it in decoded objects, and the cache's own.
    return 4 * len(ref.body) + 1000
