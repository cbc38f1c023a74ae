"""What the journal announced of one source, as long as nothing can be missing in it.

A read of the store for every commit would cost more than the commit. But only the store
knows what a commit of unknown outcome left behind: then, at the start, and when there
is too much to keep, hearsay counts for nothing until the store was read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tunewatch.store.records import EventRef
from tunewatch.store.waiting import Headline

MOST = 4000
"""Events that are kept: beyond, they are read when there is time."""


class Hearsay:
    """See the module. `is_doubtful`: the journal may have left something out."""

    def __init__(self, is_doubtful: Callable[[], bool]) -> None:
        self._is_doubtful = is_doubtful
        self._heard: list[Headline] = []
        self._is_whole = False

    def note(self, refs: Iterable[EventRef]) -> None:
        """Take note of committed events, in commit order; some may come twice."""
        if self._is_doubtful():
            self.distrust()
        if not self._is_whole:
            return
        self._heard += [
            Headline(ref.position, ref.job_key, ref.type, ref.derived, ref.metadata)
            for ref in refs
        ]
        if len(self._heard) > MOST:
            self.distrust()

    def distrust(self) -> None:
        """Count for nothing until `begin`."""
        self._is_whole = False
        self._heard = []

    def begin(self) -> None:
        """Be whole from here on: what was committed before is about to be read."""
        self._heard = []
        self._is_whole = not self._is_doubtful()

    def take(self, after: int) -> list[Headline] | None:
        """Return what was told above a position, each once; None: read instead."""
        if not self._is_whole:
            return None
        heard, self._heard = self._heard, []
        fresh: list[Headline] = []
        for one in heard:
            if one.position > after:
                fresh.append(one)
                after = one.position
        return fresh
