"""What all sources of one process share: one object instead of nine arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from tunewatch import pace
from tunewatch.app.leasing import Leasing
from tunewatch.app.measures import Measures
from tunewatch.clock import Clock
from tunewatch.dispatch import Dispatcher, Gate, Parcels
from tunewatch.poller.tide import Tide
from tunewatch.store.opening import Store
from tunewatch.store.records import Fence


@dataclass(slots=True, kw_only=True)
class Parts:
    """The shared parts of one process."""

    store: Store
    leasing: Leasing
    gates: Mapping[str, Gate]  #: by the plugin's name
    measures: Measures
    clock: Clock
    jitter: pace.Jitter
    grace: float  #: s that deliveries get at the end, as it is configured now
    parcels: Parcels = field(default_factory=Parcels)
    tide: Tide | None = None  #: None: every look is committed at once

    def dispatcher(self, source: str, fence: Fence) -> Dispatcher:
        """Return a dispatcher of a source for one lease term."""
        return Dispatcher(
            carrier=self.store.carrier,
            journal=self.store.journal,
            fence=fence,
            source=source,
            gates=list(self.gates.values()),
            clock=self.clock,
            parcels=self.parcels,
            observer=self.measures,
            jitter=self.jitter,
            clock_agrees=self.measures.clock_agrees,
            is_ours=partial(self.leasing.trusts, fence),
        )
