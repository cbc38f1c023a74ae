"""What people asked to be delivered once more, taken up as there is room for it.

Rows that anybody may insert: whoever finds some says `expect`, and the dispatcher reads
them between two groups. What it cannot do it refuses, with the reason in the row of the
request. Knows no lane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from tunewatch.dispatch.feed import Feed
from tunewatch.dispatch.ledger import Ledger
from tunewatch.store.records import Fence
from tunewatch.store.redelivery import Redelivery, next_stretches, refuse_all

_log = structlog.get_logger(__name__)


class Asked:
    """See the module."""

    def __init__(
        self, ledger: Ledger, feeds: Sequence[Feed], *, fence: Fence, source: str
    ) -> None:
        self._ledger = ledger
        self._feeds = feeds
        self._fence = fence
        self._source = source
        self._newest = 0
        self._is_expected = True  # an earlier process may have left some

    @property
    def is_over(self) -> bool:
        """Whether nothing is known to wait for room."""
        return not (self._is_expected or self._wanting)

    def expect(self) -> None:
        """Note that something may have been asked for."""
        self._is_expected = True

    async def absorb(self) -> None:
        """Take up what waits, if anything may. Raises what the ledger raises."""
        if self.is_over:
            return
        self._is_expected = False
        most = {feed.name: feed.redeliveries.asks_for for feed in self._feeds}
        read = partial(next_stretches, source_id=self._fence.source_id, most=most)
        waiting = await self._ledger.read(read)
        self._tell(waiting.found)
        for feed in self._feeds:
            feed.redeliver([one for one in waiting.found if one.plugin == feed.name])
        for plugin in waiting.strangers:
            await self._refuse(plugin)

    def _tell(self, found: Sequence[Redelivery]) -> None:
        """Log each request once, when something of it is first seen."""
        for one in found:
            if one.redelivery > self._newest:
                self._newest = one.redelivery
                _log.info(
                    "redelivery.taken_up",
                    source=self._source,
                    plugin=one.plugin,
                    redelivery=one.redelivery,
                )

    @property
    def _wanting(self) -> bool:
        return any(feed.redeliveries.is_wanting for feed in self._feeds)

    async def _refuse(self, plugin: str) -> None:
        reason = f"plugin {plugin} is not configured for source {self._source}"
        _log.warning("redelivery.refused", plugin=plugin, reason=reason)

        def attempt(_again: bool) -> Callable[[Connection], None]:
            return partial(refuse_all, fence=self._fence, plugin=plugin, reason=reason)

        await self._ledger.write(attempt)
