"""One group after the other: made of what the feeds have, written, told to the lanes.

Nothing goes out before its mark is in the store, and what a reactor concluded counts
only once it is there. Knows no SQL, and not when it is time to write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from sqlalchemy import Connection

from tunewatch.clock import Clock
from tunewatch.dispatch.composing import compose, resolve
from tunewatch.dispatch.feed import Feed, Flight
from tunewatch.dispatch.ledger import Ledger
from tunewatch.dispatch.parcels import Parcels
from tunewatch.store.journal import Journal
from tunewatch.store.lane_records import Group, Settled
from tunewatch.store.lanes import settle_group
from tunewatch.store.records import Fence


class Groups:
    """See the module. `send` gets each delivery once its mark is written."""

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal,
        feeds: Sequence[Feed],
        parcels: Parcels,
        *,
        fence: Fence,
        clock: Clock,
        send: Callable[[Flight], None],
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._fence = fence
        self._feeds = feeds
        self._parcels = parcels
        self._clock = clock
        self._send = send

    async def write(
        self,
        picked: Sequence[Flight],
        concluded: Sequence[Flight],
        *,
        whole: bool = False,
    ) -> bool:
        """Write the next group; false if there is nothing to write.

        `whole`: write every mark, as at an end. Raises what the ledger raises.
        """
        group = compose(
            self._feeds,
            picked,
            concluded,
            self._parcels,
            at=self._clock.now(),
            whole=whole,
        )
        if group is None:
            return False
        versions = [(feed.gate, feed.gate.version) for feed in self._feeds]
        settled = await self._ledger.write(
            partial(self._transaction, group),
            committed=self._committed,
            beside=not group.conclusions,
        )
        for gate, version in versions:
            gate.saved = max(gate.saved, version)
        self._parcels.add(settled.events.values())
        _conclude(concluded, settled)
        for flight in picked:
            if resolve(flight, settled, self._parcels):
                self._send(flight)
        return True

    def _transaction(
        self, group: Group, again: bool
    ) -> Callable[[Connection], Settled]:
        if again and not group.again:
            group = msgspec.structs.replace(group, again=True)
        return partial(settle_group, fence=self._fence, group=group)

    def _committed(self, settled: Settled) -> None:
        self._journal.announce(settled.derived)


def _conclude(concluded: Sequence[Flight], settled: Settled) -> None:
    for index, flight in enumerate(concluded):
        if index in settled.refused:
            flight.feed.track.put_back(flight.lane)
        else:
            flight.feed.conclude(flight)
