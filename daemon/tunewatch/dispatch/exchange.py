"""Plugins that come and go while a dispatcher runs; the others go on meanwhile.

Who leaves gets nothing more, and a moment for what is out; the next of the same name
begins where it ended. Knows why neither comes nor goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunewatch.clock import Clock
from tunewatch.dispatch.feed import Feed
from tunewatch.dispatch.gate import Gate
from tunewatch.dispatch.groups import Groups
from tunewatch.dispatch.ledger import Ledger
from tunewatch.dispatch.sending import FAREWELL, Sender
from tunewatch.dispatch.starting import start
from tunewatch.store.records import Fence

PATIENCE = 0.4
"""s for calls of a plugin that leaves; what is out then is broken off and repeated."""


class Exchange:
    """See the module. `feeds` is the dispatcher's own list; `make` makes a new one."""

    def __init__(
        self,
        ledger: Ledger,
        feeds: list[Feed],
        *,
        fence: Fence,
        clock: Clock,
        make: Callable[[Gate], Feed],
    ) -> None:
        self._ledger = ledger
        self._feeds = feeds
        self._fence = fence
        self._clock = clock
        self._make = make
        self._wanted: Sequence[Gate] | None = None
        self._until = 0.0
        self._is_broken_off = False

    def want(self, gates: Sequence[Gate]) -> None:
        """Note through which gates deliveries are to go from now on."""
        self._wanted = list(gates)
        self._until = self._clock.monotonic() + PATIENCE
        self._is_broken_off = False

    @property
    def due(self) -> float | None:
        """The monotonic time by which to look again, None if all is as wanted."""
        return None if self._wanted is None else self._until

    async def step(self, sender: Sender, groups: Groups) -> None:
        """Let leave who can leave, and begin who can begin.

        Raises what the ledger raises.
        """
        wanted = self._wanted
        if wanted is None:
            return
        leaving = [feed for feed in self._feeds if feed.gate not in wanted]
        for feed in leaving:
            feed.is_leaving = True
        if leaving and self._clock.monotonic() >= self._until:
            self._insist(leaving, sender)
        gone = [
            feed
            for feed in leaving
            if not feed.flights and not sender.has_landed_of(feed)
        ]
        if gone:
            # Its marks, so that the next one begins behind what was accepted.
            await groups.write([], [], whole=True)
            for feed in gone:
                self._feeds.remove(feed)
                feed.gate.leave(feed.seat)
        await self._begin(wanted)
        if len(gone) == len(leaving) and self._wanted is wanted:
            self._wanted = None

    def _insist(self, leaving: Sequence[Feed], sender: Sender) -> None:
        """Break off what is out; what does not even end then is not waited for."""
        for feed in leaving:
            if self._is_broken_off:
                feed.flights.clear()
            else:
                sender.break_off(feed)
        self._is_broken_off = True
        self._until = self._clock.monotonic() + FAREWELL

    async def _begin(self, wanted: Sequence[Gate]) -> None:
        """Feed whoever is new, unless one of its name is still there."""
        running = [feed.name for feed in self._feeds]
        new = [self._make(gate) for gate in wanted if gate.instance.name not in running]
        if not new:
            return
        at = self._clock.now()
        await start(self._ledger, new, fence=self._fence, at=at, running=running)
        for feed in new:
            self._feeds.append(feed)
            feed.gate.join(feed.seat)
