"""Totals that survive restarts: they grow in the transaction that counts.

Knows names, labels and sums; what they mean in /metrics is the reader's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, select

from tunewatch.counting import OTHER, counted_bucket
from tunewatch.store.schema import counter
from tunewatch.store.statements import Batch, Row

MOST_MODELS = 100
"""Base models of one source that have totals of their own; the next are `other`."""

_encoder = msgspec.json.Encoder(order="sorted")
_labels = msgspec.json.Decoder(dict[str, str])
_COLUMNS = ("source_id", "name", "labels", "value")
_GROW = (
    "ON CONFLICT (source_id, name, labels) "
    "DO UPDATE SET value = counter.value + excluded.value"
)


class Growth:
    """What a transaction counts, of any sources, summed up and written once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tallies: dict[int, Tally] = {}

    def of(self, source_id: int) -> Tally:
        """Return where to count what is told of one source."""
        if source_id not in self._tallies:
            self._tallies[source_id] = Tally(self._connection, source_id)
        return self._tallies[source_id]

    def write(self, batch: Batch) -> None:
        """Let the totals grow with the batch, in the order of their keys."""
        rows: list[Row] = [
            (source_id, name, labels, by)
            for source_id, tally in sorted(self._tallies.items())
            for (name, labels), by in sorted(tally.sums.items())
        ]
        batch.insert(counter, _COLUMNS, rows, conflict=_GROW)


class Tally:
    """What a transaction counts of one source."""

    def __init__(self, connection: Connection, source_id: int) -> None:
        self._connection = connection
        self._source_id = source_id
        self.sums: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._models: set[str] | None = None

    def add(self, name: str, labels: Mapping[str, str], by: float = 1.0) -> None:
        """Count; nothing is written before `Growth.write`."""
        self.sums[name, _encoder.encode(labels).decode()] += by

    def observe(self, name: str, labels: Mapping[str, str], seconds: float) -> None:
        """Count a duration: see `plugin.Count` for how a histogram is kept."""
        self.add(f"{name}_bucket", {**labels, "le": counted_bucket(seconds)})
        self.add(f"{name}_sum", labels, seconds)

    def model(self, name: str) -> str:
        """Return what a base model is counted as: a total once born stays for ever."""
        if self._models is None:
            self._models = self._counted_models()
        if name in self._models:
            return name
        if len(self._models) >= MOST_MODELS:
            return OTHER
        self._models.add(name)
        return name

    def _counted_models(self) -> set[str]:
        found = self._connection.execute(
            select(counter.c.labels).where(
                counter.c.source_id == self._source_id,
                counter.c.name.in_(("jobs_finished", "trained_tokens")),
            )
        )
        return {_labels.decode(row.labels).get("base_model", "") for row in found}
