"""Lists cut into pages, with the envelope and the cursors of the real API.

Pure: items come oldest first and go out newest first; `after` names an item and means
those beyond it. Knows no job and no request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunewatch.testing.answers import Problem
from tunewatch.testing.served import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What was asked of a list."""

    limit: int
    after: str | None = None
    ascending: bool = False  #: oldest first, and `after` means newer


@dataclass(frozen=True, slots=True)
class Page:
    """A run of items in the order in which they go out."""

    first: int
    last: int
    step: int
    has_more: bool

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Return the page's items."""
        chosen = list(items[self.first : self.last])
        return chosen if self.step > 0 else chosen[::-1]


def cut(count: int, wanted: Cut, position: Callable[[str], int | None]) -> Page:
    """Return which of the first `count` items are asked for.

    Raises Problem (400) for a cursor that names nothing.
    """
    found = None
    if wanted.after:
        found = position(wanted.after)
        if found is None or found >= count:
            raise Problem(
                400,
                f"No item with id '{wanted.after}' to list after.",
                param="after",
                code="invalid_cursor",
            )
    if wanted.ascending:
        first = 0 if found is None else found + 1
        last = min(count, first + wanted.limit)
        return Page(first, last, 1, last < count)
    last = count if found is None else found
    first = max(0, last - wanted.limit)
    return Page(first, last, -1, first > 0)


def envelope(bodies: Sequence[bytes], *, has_more: bool) -> bytes:
    """Return the list object that jobs and events come in."""
    more = b"true" if has_more else b"false"
    return b'{"object":"list","data":[%b],"has_more":%b}' % (b",".join(bodies), more)


def named_envelope(items: Sequence[Item], *, has_more: bool) -> bytes:
    """Return the list object that checkpoints come in: it names its ends."""
    plain = envelope([item.encoded() for item in items], has_more=has_more)
    ends = (items[0].id, items[-1].id) if items else (None, None)
    first, last = (b"null" if end is None else b'"%b"' % end.encode() for end in ends)
    return b'%b,"first_id":%b,"last_id":%b}' % (plain[:-1], first, last)
