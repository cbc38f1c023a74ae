"""List answers: an envelope opened, its items one by one, and where the next page is.

One odd item never costs its page. Knows no request; what items mean is `decode`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar, overload

import msgspec
from msgspec.structs import replace

from tunewatch.sources.contract import Page, RawJob, Unreadable
from tunewatch.sources.openai.decode import Named, identify
from tunewatch.sources.openai.lenient import NOT_JSON, identifier, repaired


class Identified(Protocol):
    """An item that says its id."""

    @property
    def id(self) -> str:
        """The id, never empty."""
        ...


ItemT = TypeVar("ItemT")
IdentifiedT = TypeVar("IdentifiedT", bound=Identified)

_SURELY_FULL = 10
"""Items that every API puts on a page if it has them: the smallest known default."""


class _Envelope(msgspec.Struct, Generic[ItemT]):
    data: list[ItemT]
    has_more: Any = None
    last_id: Any = None


_envelope = msgspec.json.Decoder(_Envelope[msgspec.Raw])
_named = msgspec.json.Decoder(_Envelope[Named])


def digest(data: bytes) -> bytes:
    """Return 8 bytes that are equal for equal bytes, in this process.

    Python's own hash, by a key of the process: none that is known to all is as quick,
    and nobody keeps it.
    """
    return hash(data).to_bytes(8, "little", signed=True)


def raw_job(raw: bytes) -> RawJob:
    """Return a job as it came, with its digest."""
    return RawJob(raw, digest(raw))


def read_jobs(body: bytes, *, after: str | None, limit: int) -> Page[RawJob]:
    """Return a page of jobs that are not decoded. Raises Unreadable."""
    page, _ = _page(body, raw_job, _id_in, after=after, limit=limit)
    # To hash every byte a second time would cost as much as all the rest.
    whole = b"".join([item.digest for item in page.items])
    return replace(page, digest=digest(whole + (page.cursor or "").encode()))


def read_page(
    body: bytes, read: Callable[[bytes], IdentifiedT], *, after: str | None, limit: int
) -> Page[IdentifiedT]:
    """Return the page of a list answer, each item through `read`.

    Items that `read` calls Unreadable are counted and left out. Raises Unreadable if
    the answer is no list, or if there is more and no way to ask for it.
    """
    page, _ = _page(body, read, _id_of, after=after, limit=limit)
    return replace(page, digest=digest(body))


def read_late(
    body: bytes, read: Callable[[bytes], ItemT], *, after: str | None, limit: int
) -> Page[ItemT]:
    """Return the page of a list answer, each item read when it is looked at.

    Items without an id are counted and left out. Raises Unreadable as `read_page`.
    """
    named = _quickly(body)
    if named is not None:
        ids = [item.id for item in named.data]
        return Page(
            items=_Late(len(ids), lambda: _opened(body).data, read),
            ids=ids,
            cursor=_cursor(named, ids, after=after, limit=limit),
            count=len(ids),
            digest=digest(body),
        )
    page: Page[Any]
    page, ids = _page(body, bytes, identify, after=after, limit=limit)
    items = _Late(len(ids), lambda: page.items, read)
    return replace(page, items=items, ids=ids, digest=digest(body))


def _quickly(body: bytes) -> _Envelope[Named] | None:
    """Return a list whose items all have an id, as nearly every list's; else None.

    Ids are all that is wanted of most items: to take those apart costs twice as much.
    """
    try:
        envelope = _named.decode(body)
    except NOT_JSON:
        return None
    return envelope if all(item.id.strip() for item in envelope.data) else None


class _Late(Sequence[ItemT]):
    """Items that are found when the first is looked at, and read each time."""

    def __init__(
        self,
        count: int,
        find: Callable[[], Sequence[msgspec.Raw | bytes]],
        read: Callable[[bytes], ItemT],
    ) -> None:
        self._count = count
        self._find = find
        self._read = read
        self._found: Sequence[msgspec.Raw | bytes] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> ItemT: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[ItemT]: ...
    def __getitem__(self, place: int | slice) -> ItemT | Sequence[ItemT]:
        if self._found is None:
            self._found = self._find()
        if isinstance(place, slice):
            some = self._found[place]
            return _Late(len(some), lambda: some, self._read)
        return self._read(bytes(self._found[place]))


def _id_in(job: RawJob) -> str:
    return identify(job.raw)


def _id_of(item: Identified) -> str:
    return item.id


def _page(
    body: bytes,
    read: Callable[[bytes], ItemT],
    id_of: Callable[[ItemT], str],
    *,
    after: str | None,
    limit: int,
) -> tuple[Page[ItemT], list[str]]:
    """Return the page but for its digest, and ids. Items without one are left out."""
    envelope = _opened(body)
    ids: list[str] = []
    items: list[ItemT] = []
    for each in envelope.data:
        raw = bytes(each)
        try:
            item = read(raw)
            ids.append(id_of(item))
            items.append(item)
        except Unreadable:
            with suppress(Unreadable):
                ids.append(identify(raw))  # a page may end with it
    page = Page(
        items=tuple(items),
        cursor=_cursor(envelope, ids, after=after, limit=limit),
        malformed=len(envelope.data) - len(items),
        count=len(envelope.data),
    )
    return page, ids


def _opened(body: bytes) -> _Envelope[msgspec.Raw]:
    with suppress(*NOT_JSON):
        return _envelope.decode(body)
    mended = repaired(body)
    with suppress(*NOT_JSON):
        return _envelope.decode(mended)
    raise Unreadable("the answer is JSON, but no list")


def _cursor(
    envelope: _Envelope[Any], ids: list[str], *, after: str | None, limit: int
) -> str | None:
    """Return the `after` of the next page, None at the end."""
    if not envelope.data or not _has_more(envelope, ids, after=after, limit=limit):
        return None
    cursor = ids[-1] if ids else identifier(envelope.last_id)
    if cursor is None:
        # To call this the end would lose everything older.
        raise Unreadable("the list goes on, but no item has an id to go on from")
    return cursor


def _has_more(
    envelope: _Envelope[Any], ids: list[str], *, after: str | None, limit: int
) -> bool:
    """Whether older items exist.

    An API that does not say is asked until a page is empty or plainly short, or holds
    the item it was to begin after: then it does not page at all.
    """
    said = envelope.has_more
    if isinstance(said, str):
        said = {"true": True, "false": False}.get(said.lower())
    if isinstance(said, bool | int):
        return bool(said)
    return len(envelope.data) >= min(limit, _SURELY_FULL) and after not in ids
