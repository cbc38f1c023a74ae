"""Walks over lists that are newest first and know no "since".

A walk over events counts only when it reached known ground or the end; until then
nothing of it may be committed. A cursor that repeats ends it as a fault of the source.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from struct import Struct
from typing import Generic, TypeVar

from tunewatch.model import Checkpoint, Entry
from tunewatch.poller.asking import Asker
from tunewatch.sources.contract import Page, Unreadable

ItemT = TypeVar("ItemT")
ENOUGH_KNOWN = 20
"""Known items in a row that make known ground."""
PAGE = 100
"""Items a page, where many are expected."""
_ROW = Struct("<qq")
"""Hashes of the first id of a row and of the row: 64 bits, by a key of this process."""
STEP = 8
"""Items by which a first page is longer or shorter than another: pages can be compared
only if they are of one length."""


def first_page(brought: int | None) -> int:
    """Return how many items to ask for first: known ground, and room for the news.

    `brought` is how many the last look at the job brought, None for the first one. What
    is known already costs more to carry and to read than what is new.
    """
    if brought is None:
        return PAGE
    wanted = ENOUGH_KNOWN + max(2 * brought, STEP // 2)
    return min(PAGE, -(-wanted // STEP) * STEP)


KnownOf = Callable[[Sequence[str]], Awaitable[Collection[str]]]


class Cursors:
    """The cursors of one walk: none may come twice."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def check(self, cursor: str | None, what: str) -> str | None:
        """Return the cursor; raises Unreadable if it was followed before."""
        if cursor is not None and cursor in self._seen:
            raise Unreadable(
                f"the list of {what} repeats its cursor: wanted older items, found the"
                f" same ones after {len(self._seen)} pages"
            )
        if cursor is not None:
            self._seen.add(cursor)
        return cursor


class KnownGround:
    """Whether what was read is old news from here on."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def reached(self, are_known: Iterable[bool]) -> bool:
        """Take in one page; return whether known ground was reached on it."""
        page = list(are_known)
        for is_known in page:
            self._in_a_row = self._in_a_row + 1 if is_known else 0
            if self._in_a_row >= ENOUGH_KNOWN:
                return True
        return bool(page) and all(page)


class EntryWalk:
    """One walk over a job's events. Kept when it breaks off, so that it resumes."""

    def __init__(
        self,
        asker: Asker,
        job_id: str,
        known_of: KnownOf,
        *,
        brought: int | None = None,
        ground: bytes = b"",
    ) -> None:
        self._asker = asker
        self._first = first_page(brought)
        self._job_id = job_id
        self._known_of = known_of
        self._cursors = Cursors()
        self._ground = KnownGround()
        self._cursor: str | None = None
        self._newest_first: list[Entry] = []
        self._known_ground = ground
        self.ground = b""  #: what the next walk over these events may begin with
        self.malformed = 0
        self.digest = b""  #: of the newest page: if it comes again there is no news
        self.is_begun = False
        self.is_finished = False

    async def finish(self, known_digest: bytes = b"") -> tuple[Entry, ...]:
        """Walk on to known ground or the end; return what is new, oldest first.

        Raises what the source raises; called again it goes on where it broke off, and
        says the same once it is finished.
        """
        while not self.is_finished:
            first = not self.is_begun
            page = await self._asker.entries(
                self._job_id, self._cursor, self._first if first else PAGE
            )
            ids = _ids(page)
            place = _place_of(self._known_ground if first else b"", ids)
            # Known ground lies there as it was found: newest first.
            is_ascending = place == len(ids) and _is_ascending(page.items)
            if first:
                # An unchanged page of the oldest says nothing of what came after it.
                self.digest = b"" if is_ascending else page.digest
                if self.digest and self.digest == known_digest:
                    return ()
            cursor = self._cursors.check(page.cursor, f"events of {self._job_id}")
            if is_ascending:
                done = await self._take_ascending(page, ids)
            else:
                done = await self._take(page, ids, place)
            self.is_begun = True
            self.is_finished = done or cursor is None
            self._cursor = cursor
        return tuple(reversed(self._newest_first))

    async def _take(self, page: Page[Entry], ids: Sequence[str], place: int) -> bool:
        """Take in a page that is known from a place on; whether that is enough."""
        if not self.is_begun:
            self.ground = _ground_of(ids)
        # Most looks find it so, and ask the store for nothing.
        known: Collection[str] = frozenset(ids[place:]) or await self._known_of(ids)
        self._newest_first.extend(self._fresh(page, ids, known))
        return self._ground.reached(one in known for one in ids)

    async def _take_ascending(self, page: Page[Entry], ids: Sequence[str]) -> bool:
        """Take in a page of an API that answers oldest first.

        What is known says nothing of what follows then, only the end of the list will
        do, and each page is newer.
        """
        known = await self._known_of(ids)
        self._newest_first[:0] = reversed(self._fresh(page, ids, known))
        return False

    def _fresh(
        self, page: Page[Entry], ids: Sequence[str], known: Collection[str]
    ) -> list[Entry]:
        """Read what is not known, and count what cannot be read."""
        self.malformed += page.malformed
        places = [n for n, one in enumerate(ids) if one not in known]
        entries: list[Entry] = []
        for place in places:
            try:
                entries.append(page.items[place])
            except Unreadable:
                self.malformed += 1
        return entries


def _ids(page: Page[Entry]) -> Sequence[str]:
    return [one.id for one in page.items] if page.ids is None else page.ids


def _is_ascending(items: Sequence[Entry]) -> bool:
    if len(items) < 2:
        return False
    try:
        return items[0].created_at < items[-1].created_at
    except Unreadable:
        return False


def _ground_of(ids: Sequence[str]) -> bytes:
    """Return what so many ids in a row are known by again, nothing if they are few."""
    if len(ids) < ENOUGH_KNOWN:
        return b""
    return _ROW.pack(hash(ids[0]), hash(tuple(ids[:ENOUGH_KNOWN])))


def _place_of(ground: bytes, ids: Sequence[str]) -> int:
    """Return where known ground begins, the end if it is not there."""
    if ground:
        first, row = _ROW.unpack(ground)
        for place in range(len(ids) - ENOUGH_KNOWN + 1):
            # Of nearly all places the first id says enough.
            if hash(ids[place]) != first:
                continue
            if hash(tuple(ids[place : place + ENOUGH_KNOWN])) == row:
                return place
    return len(ids)


async def all_checkpoints(asker: Asker, job_id: str) -> tuple[Checkpoint, ...]:
    """Return the complete list of a job's checkpoints.

    Raises Unreadable if an item could not be read: a list with a hole in it would
    read as a checkpoint removed.
    """
    cursors, found = Cursors(), dict[str, Checkpoint]()
    cursor: str | None = None
    while True:
        page = await asker.checkpoints(job_id, cursor, PAGE)
        if page.malformed:
            raise Unreadable(
                f"{page.malformed} of {page.count} checkpoints of {job_id} could not be"
                " read: an incomplete list would read as a removal"
            )
        found.update((checkpoint.id, checkpoint) for checkpoint in page.items)
        cursor = cursors.check(page.cursor, f"checkpoints of {job_id}")
        if cursor is None:
            return tuple(found.values())


class Pages(Generic[ItemT]):
    """Pages of a list, one after the other."""

    def __init__(
        self, ask: Callable[[str | None, int], Awaitable[Page[ItemT]]], what: str
    ) -> None:
        self._ask = ask
        self._what = what
        self._cursors = Cursors()
        self.cursor: str | None = None
        self.is_over = False

    async def next(self) -> Page[ItemT]:
        """Return the next page; look at `is_over` before asking for another."""
        page = await self._ask(self.cursor, PAGE)
        self.cursor = self._cursors.check(page.cursor, self._what)
        self.is_over = self.cursor is None
        return page
