"""What was committed, told to every plugin that wants it: in commit order.

What the journal announces is believed as long as it is whole (see `hearsay`); else the
store's own order is read, so that nothing comes out of order or is missed. Knows no
gate and no delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from tunewatch.dispatch import calls
from tunewatch.dispatch.feed import Feed
from tunewatch.dispatch.hearsay import Hearsay
from tunewatch.dispatch.ledger import Ledger
from tunewatch.dispatch.parcels import Parcels
from tunewatch.events import MetricsRecorded
from tunewatch.store import waiting
from tunewatch.store.records import EventRef, Fence
from tunewatch.store.waiting import Headline

MOST = 1000
"""Events read at once."""


class News:
    """See the module. `seen`: every position up to there was told."""

    def __init__(
        self,
        ledger: Ledger,
        feeds: Sequence[Feed],
        parcels: Parcels,
        *,
        fence: Fence,
        rouse: Callable[[], None],
        is_doubtful: Callable[[], bool],
    ) -> None:
        self.seen = 0
        self.is_expected = False
        self._may_tell = False
        self._ledger = ledger
        self._source_id = fence.source_id
        self._feeds = feeds
        self._parcels = parcels
        self._rouse = rouse
        self._hearsay = Hearsay(is_doubtful)
        self._doubts = ledger.doubts

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Let feeds be told at once what is heard: nobody works with them meanwhile."""
        self._may_tell = True
        try:
            yield
        finally:
            self._may_tell = False

    def heard(self, refs: Sequence[EventRef]) -> None:
        """Take note of a commit of this source; its bodies need not be read again.

        Nobody is roused for what nobody wants, as most of what a job does.
        """
        self._parcels.add(refs)
        self._hearsay.note(refs)
        if self._may_tell and not self.is_expected:
            news = self._hearsay_taken()
            if news is not None and not self._tell(news):
                return
        self.expect()

    def expect(self) -> None:
        """Note that there may be something."""
        self.is_expected = True
        self._rouse()

    async def absorb(self) -> None:
        """Take in what was committed, if anything may have been."""
        if not self.is_expected:
            return
        self.is_expected = False
        news = self._hearsay_taken()
        if news is None:
            news = await self._read()
        self._tell(news)

    def _hearsay_taken(self) -> list[Headline] | None:
        """Return what was heard, None if the store is to be read instead."""
        if self._ledger.doubts != self._doubts:
            self._doubts = self._ledger.doubts
            self._hearsay.distrust()
        return self._hearsay.take(self.seen)

    def _tell(self, news: Iterable[Headline]) -> bool:
        """Tell the feeds; return whether there was anything for anybody."""
        is_wanted = False
        for one in news:
            self.seen = one.position
            for feed in self._feeds:
                if one.position <= feed.track.seen:
                    continue  # it came later, and has read that far
                if self._wants(feed, one):
                    feed.track.arrive(one.job_key, one.position)
                    is_wanted = True
                else:
                    feed.track.pass_by(one.position)
        return is_wanted

    def _wants(self, feed: Feed, one: Headline) -> bool:
        wanted = feed.subscription
        if not wanted.wants(one.type, one.derived):
            return False
        if not wanted.wants_job(one.job_key, one.metadata):
            return False
        if one.type != MetricsRecorded.TYPE or not feed.gate.is_reactor:
            return True
        parcel = self._parcels.get(one.position)
        # One that is not in memory any more is not read for this: it is handed out.
        return parcel is None or calls.heeds(feed.gate.target, lambda: parcel.event)

    def look_up(self) -> None:
        """Read the store next time, whatever was heard: a net under hearsay."""
        self._hearsay.distrust()
        self.expect()

    async def _read(self) -> list[Headline]:
        self._hearsay.begin()
        read = partial(
            waiting.news, source_id=self._source_id, after=self.seen, most=MOST
        )
        news = await self._ledger.read(read)
        if len(news) == MOST:
            self._hearsay.distrust()
            self.expect()
        return news
