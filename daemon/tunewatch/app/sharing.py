"""Even shares: a replica with fewer sources asks one with more for some of them.

Asking is a row that the owner reads; it looks at who has how many by then, and lets go
of a source as on a clean stop. Takes nothing by force, and knows only leases.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import structlog

from tunewatch.app.lives import Lives
from tunewatch.app.overdue import Overdue
from tunewatch.app.parts import Parts
from tunewatch.store.lease_rows import LeaseRow

SHARE = "share"
"""The kind of request: its body names who asks."""
SETTLES_IN = 5.0
"""s that a replica has been there before it asks: a crash loop moves nothing."""
ASK_EVERY = 2.0
"""s between looks at who has how many."""
MOST = 8
"""Sources asked for at once: several may ask, and none knows of the others yet."""
IN_VAIN = 600.0
"""s after which nobody waits for an answer any more."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Sharing:
    """What one process does for even shares."""

    parts: Parts
    lives: Lives
    _ask_at: float | None = None  #: monotonic
    _overdue: Overdue = field(init=False)

    def __post_init__(self) -> None:
        self._overdue = Overdue(self.parts.clock, IN_VAIN)

    async def step(self) -> None:
        """Answer who asks, and ask if it is time to. Raises StoreUnavailable."""
        if not self.parts.store.leases.are_shared:
            return
        await self._answer()
        now = self.parts.clock.monotonic()
        if self._ask_at is None:
            self._ask_at = now + SETTLES_IN
        if now >= self._ask_at:
            self._ask_at = now + ASK_EVERY
            await self._ask()

    async def _answer(self) -> None:
        held = self.parts.leasing.held
        requests = self.parts.store.requests
        waiting = await requests.pending([SHARE])
        old = self._overdue.among(waiting)
        ours = [one for one in waiting if one.source_id in held or one.id in old]
        if not ours:
            return
        counts = shares(await self.parts.store.leases.rows())
        await requests.drop(*(one.id for one in ours))
        me = self.parts.store.leases.owner
        for one in ours:
            asker = one.body.decode()
            one_more = counts[asker] + 1
            if one.id in old or one.source_id is None or counts[me] <= one_more:
                continue
            counts[me] -= 1
            counts[asker] = one_more
            _log.info("lease.handed_over", source_id=one.source_id, to=asker)
            self.parts.leasing.hand_over(one.source_id)

    async def _ask(self) -> None:
        """Ask who has most for what would be even, of what is looked at here too."""
        configured = {life.row.id for life in self.lives.sources.values()}
        wanted = configured.intersection(self.parts.leasing.wanted())
        if not wanted:
            return
        leases = self.parts.store.leases
        rows = await leases.rows()
        for row in due(rows, me=leases.owner, wanted=wanted)[:MOST]:
            me = leases.owner.encode()
            await self.parts.store.requests.add_once(SHARE, row.source_id, me)


def shares(rows: list[LeaseRow]) -> Counter[str]:
    """Return how many sources each replica has."""
    return Counter(row.owner for row in rows if not row.is_free)


def due(rows: list[LeaseRow], *, me: str, wanted: set[int]) -> list[LeaseRow]:
    """Return the leases that one replica should have, for its share to be even."""
    counts = shares(rows)
    # Those who have most first, as long as they stay ahead.
    asked: list[LeaseRow] = []
    left = [row for row in rows if not row.is_free and row.source_id in wanted]
    while left:
        row = max(left, key=lambda one: (counts[one.owner], one.source_id))
        if counts[row.owner] <= counts[me] + 1:
            break
        left.remove(row)
        asked.append(row)
        counts[row.owner] -= 1
        counts[me] += 1
    return asked
