"""What became of lanes and is not in the store yet, and which rows are there.

A row is kept only where a lane's cursor is above the mark, where its head is in
trouble, or while it is a redelivery that goes on; a sweep removes what the mark has
passed. Arithmetic over positions: does not know why a lane moved, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunewatch.dispatch.lane import Lane, Ordeal


@dataclass(slots=True)
class Change:
    """What is to be written of a lane."""

    cursor: int
    ordeal: Ordeal | None


@dataclass(slots=True, kw_only=True)
class Writing:
    """What is to be written of all lanes, and the mark that goes with it."""

    mark: int
    rows: list[tuple[int, Change]]
    gone: list[int]
    sweep: bool


class Unwritten:
    """See the module. `lanes` are the living ones; they are only looked at."""

    def __init__(self, mark: int, lanes: Mapping[int, Lane]) -> None:
        self.mark = mark  #: written
        self.rows: dict[int, int] = {}  #: kept lanes and their cursors
        self.changes: dict[int, Change] = {}
        self._lanes = lanes
        self._kept_since_sweep = 0

    def is_behind(self, mark: int, *, lag: int) -> bool:
        """Whether a mark is worth writing by itself: for rows, or by its lead."""
        passed = mark > self.mark
        return passed and (bool(self.rows) or mark - self.mark >= lag)

    def write(self, mark: int) -> Writing:
        """Return what is to be written, as written from then on."""
        rows: list[tuple[int, Change]] = []
        gone: list[int] = []
        for key, change in self.changes.items():
            if change.ordeal is not None or (key >= 0 and change.cursor > mark):
                rows.append((key, change))
                self.rows[key] = change.cursor
                self._kept_since_sweep += 1
            elif self._still_redelivers(key):
                rows.append((key, change))
                self.rows[key] = change.cursor
            elif self.rows.pop(key, None) is not None:
                gone.append(key)
        self.changes.clear()
        sweep = mark > self.mark and self._sweep_is_due()
        self.mark = mark
        if sweep:
            self._forget_passed(mark)
        return Writing(mark=mark, rows=rows, gone=gone, sweep=sweep)

    def _still_redelivers(self, key: int) -> bool:
        return key < 0 and key in self._lanes

    def _sweep_is_due(self) -> bool:
        kept = len(self.rows)
        return bool(kept) and (
            not self._lanes or self._kept_since_sweep >= max(64, kept // 2)
        )

    def _forget_passed(self, mark: int) -> None:
        self._kept_since_sweep = 0
        self.rows = {
            key: cursor
            for key, cursor in self.rows.items()
            if cursor > mark or key < 0 or self._is_troubled(key)
        }

    def _is_troubled(self, key: int) -> bool:
        lane = self._lanes.get(key)
        return lane is not None and lane.ordeal is not None
