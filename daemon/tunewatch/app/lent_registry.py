"""The daemon's metrics as one opening of a plugin is lent them.

What it adds goes when it is closed: the next opening adds the same again.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector


class LentRegistry(CollectorRegistry):
    """Reads all of `whole`, and takes back what was added through it."""

    def __init__(self, whole: CollectorRegistry) -> None:
        super().__init__()
        self._whole = whole
        self._added: list[Collector] = []

    def register(self, collector: Collector) -> None:
        """Add a metric to the daemon's. Raises ValueError if there is such a one."""
        self._whole.register(collector)
        self._added.append(collector)

    def unregister(self, collector: Collector) -> None:
        """Take a metric away that was added here."""
        self._added.remove(collector)
        self._whole.unregister(collector)

    def collect(self) -> Iterable[Metric]:
        """Return all of the daemon's metrics."""
        return self._whole.collect()

    def clear(self) -> None:
        """Take away all that was added here."""
        for collector in list(self._added):
            self.unregister(collector)
