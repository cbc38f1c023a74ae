"""What nobody announces: events that waited too long, plugins paused elsewhere.

Looks every few seconds. Nothing is given up while our clock disagrees with the
providers': a clock that jumped must not make dead letters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from tunewatch.clock import Clock
from tunewatch.dispatch.feed import Feed
from tunewatch.dispatch.ledger import Ledger
from tunewatch.store import resume, waiting
from tunewatch.store.heads import Wanted
from tunewatch.store.records import Fence
from tunewatch.store.waiting import Span

_log = structlog.get_logger(__name__)

EVERY = 10.0
"""s between looks."""
ABSENT_EVERY = 3600.0
"""s between looks for plugins that left the configuration."""
ABSENT_KEPT = 7 * 86400.0
"""s that their marks are kept."""
AT_ONCE = 500
"""Lanes that are looked through in one go."""


class Upkeep:
    """See the module. `due` is the monotonic time of the next look."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        fence: Fence,
        feeds: Sequence[Feed],
        clock: Clock,
        clock_agrees: Callable[[], bool],
    ) -> None:
        self.due = clock.monotonic()
        self._absent_due = self.due + ABSENT_EVERY
        self._ledger = ledger
        self._fence = fence
        self._feeds = feeds
        self._clock = clock
        self._clock_agrees = clock_agrees

    async def run(self) -> bool:
        """Look if it is time; return whether it was.

        Raises what the ledger raises.
        """
        now = self._clock.monotonic()
        if now < self.due:
            return False
        self.due = now + EVERY
        await self._adopt(now)
        if self._clock_agrees():
            for feed in self._feeds:
                await self._expire(feed)
            if now >= self._absent_due:
                self._absent_due = now + ABSENT_EVERY
                await self._forget([feed.name for feed in self._feeds])
        return True

    async def _adopt(self, now: float) -> None:
        """Let gates know what became of them elsewhere.

        They are those of all sources: one that was told lately needs not be by each.
        """
        gates = {
            feed.name: feed.gate
            for feed in self._feeds
            if now - feed.gate.read_at >= EVERY
        }
        if not gates:
            return
        for gate in gates.values():
            gate.read_at = now
        read = partial(resume.plugin_rows, names=list(gates))
        for row in await self._ledger.read(read):
            gates[row.name].adopt(row)

    async def _expire(self, feed: Feed) -> None:
        """Make one dead letter of each lane's events that waited too long."""
        track = feed.track
        if not track.lanes:
            return
        max_age = feed.gate.instance.max_age
        mark = track.mark()
        upto = await self._ledger.read(
            partial(
                waiting.older_than,
                source_id=self._fence.source_id,
                moment=self._clock.now() - max_age,
                after=mark,
                upto=track.seen,
            )
        )
        old = [lane for lane in track.idle_lanes() if lane.floor <= upto][:AT_ONCE]
        if not old:
            return
        asked = [(lane.key, lane.cursor) for lane in old]
        for span in await self._spans(asked, feed.subscription.wants, upto):
            reason = f"waited longer than {max_age:g} s"
            lane = track.lanes[span.job_key]
            feed.give_up(lane, span.first, span.last, reason, "age")
        if len(old) == AT_ONCE:
            self.due = self._clock.monotonic()

    async def _spans(
        self, lanes: list[tuple[int, int]], wanted: Wanted, upto: int
    ) -> list[Span]:
        def read(connection: Connection) -> list[Span]:
            source_id = self._fence.source_id
            return waiting.spans(connection, source_id, lanes, wanted, upto=upto)

        return await self._ledger.read(read)

    async def _forget(self, configured: list[str]) -> None:
        at = self._clock.now()

        def attempt(_again: bool) -> Callable[[Connection], list[str]]:
            return partial(
                resume.forget_absent,
                fence=self._fence,
                configured=configured,
                at=at,
                unused_since=at - ABSENT_KEPT,
            )

        for name in await self._ledger.write(attempt):
            _log.info("plugin.forgotten", plugin=name)
