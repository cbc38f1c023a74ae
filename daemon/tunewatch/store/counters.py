"""Totals that survive restarts: they grow in the transaction that counts.

Knows names, labels and sums; what they mean in /metrics is the reader's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec

from tunewatch.store.schema import counter
from tunewatch.store.statements import Batch, Row

_encoder = msgspec.json.Encoder(order="sorted")
_COLUMNS = ("source_id", "name", "labels", "value")
_GROW = (
    "ON CONFLICT (source_id, name, labels) "
    "DO UPDATE SET value = counter.value + excluded.value"
)


class Growth:
    """What a transaction counts, summed up and written once."""

    def __init__(self, source_id: int) -> None:
        self._source_id = source_id
        self._sums: defaultdict[tuple[str, str], float] = defaultdict(float)

    def add(self, name: str, labels: Mapping[str, str], by: float = 1.0) -> None:
        """Count; nothing is written before `write`."""
        self._sums[name, _encoder.encode(labels).decode()] += by

    def write(self, batch: Batch) -> None:
        """Let the totals grow with the batch, in the order of their keys."""
        rows: list[Row] = [
            (self._source_id, name, labels, by)
            for (name, labels), by in sorted(self._sums.items())
        ]
        batch.insert(counter, _COLUMNS, rows, conflict=_GROW)
