"""Where a list goes on, as text: exact, and readable by nobody but us.

A cursor names a place, not an item alone: two jobs may have the same id, and after a
restore from a backup an event may stand elsewhere.
"""

from __future__ import annotations

import re

from tunewatch.store.searching import Place
from tunewatch.store.told import Spot

_PLACE = re.compile(r"at_([0-9]{1,18})_([0-9]{1,18})")
_SPOT = re.compile(r"([0-9]{1,18})-(.+)")


def of_place(place: Place) -> str:
    """Return the cursor of a job's place."""
    return f"at_{place.created_at}_{place.key}"


def to_place(text: str) -> Place | None:
    """Return the place, None if the text is something else: a job's id."""
    found = _PLACE.fullmatch(text)
    return None if found is None else Place(int(found[1]), int(found[2]))


def of_spot(spot: Spot) -> str:
    """Return the cursor of an event: what the stream gives as its id."""
    return f"{spot.position}-{spot.event_id}"


def to_spot(text: str) -> Spot | None:
    """Return the spot, None if the text is something else: an event's id."""
    found = _SPOT.fullmatch(text)
    return None if found is None else Spot(int(found[1]), found[2])
