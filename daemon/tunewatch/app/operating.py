"""What the operator API is given of a running daemon: its store, and how its parts are.

Knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunewatch.api.acting import Acting
from tunewatch.api.stored import Stored
from tunewatch.host import Instance
from tunewatch.store.opening import Store
from tunewatch.web import Backing, Health, PartState
from tunewatch.web.v1.tail import Tail


@dataclass(frozen=True, slots=True)
class LiveParts:
    """`api.stored.Live` of one process."""

    health: Health

    def sources(self) -> Mapping[str, PartState]:
        """See `Live.sources`."""
        return self.health.ready().sources

    def plugins(self) -> Mapping[str, PartState]:
        """See `Live.plugins`."""
        return self.health.ready().plugins


def backing(store: Store, instances: Sequence[Instance], health: Health) -> Backing:
    """Return what the operator API answers from; its tail hears of every commit."""
    live = LiveParts(health)
    tail = Tail(store.reads)
    store.journal.listen(tail.woken)
    reading = Stored(store.reads, store.redeliver, instances=instances, live=live)
    acting = Acting(
        reading=reading,
        requests=store.requests,
        redelivering=store.redeliver,
        plugins=instances,
    )
    return Backing(reading=reading, acting=acting, tail=tail)
