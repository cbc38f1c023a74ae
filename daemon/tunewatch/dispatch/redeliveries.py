"""The redeliveries of one plugin at one source: taken up, under way, done.

Each is a lane of its own, whose key is minus the id of its request, and takes up where
the row of an earlier process left it. Knows nothing of what becomes of one delivery.
"""

from __future__ import annotations

import structlog

from tunewatch.clock import Clock
from tunewatch.dispatch.lane_rows import ordeal_of
from tunewatch.dispatch.patience import CRASHES
from tunewatch.dispatch.track import Track
from tunewatch.store.lane_records import LaneRow
from tunewatch.store.redelivery import Redelivery

_log = structlog.get_logger(__name__)


class Redeliveries:
    """See the module."""

    def __init__(self, plugin: str, clock: Clock) -> None:
        self.kept: dict[int, LaneRow] = {}
        """Rows from before this process, until their request is read."""
        self.kept_suspects: set[int] = set()
        self._plugin = plugin
        self._clock = clock
        self._under_way: dict[int, Redelivery] = {}
        self._answered: list[tuple[int, int | None]] = []

    def get(self, key: int) -> Redelivery | None:
        """Return the one whose lane this is."""
        return self._under_way.get(key)

    def asked_by(self, key: int) -> int | None:
        """Return the request whose lane this is, None if it is a job's own."""
        return -key if key < 0 else None

    def take_up(self, asked: Redelivery, track: Track) -> bool:
        """Give a redelivery its lane; false if it has one, or is given up."""
        key = -asked.request
        if key in self._under_way:
            return False
        row = self.kept.pop(key, LaneRow(key, asked.first - 1))
        if row.crashes >= CRASHES:
            _log.error(
                "redelivery.given_up", plugin=self._plugin, request=asked.request
            )
            self._answered.append((asked.request, None))
            return False
        self._under_way[key] = asked
        ordeal, until = ordeal_of(row, self._clock)
        cursor = max(row.cursor, asked.first - 1)
        if key in self.kept_suspects:
            track.suspects.append(key)
        track.restore(key, cursor, (), more=True, ordeal=ordeal, until=until)
        return True

    def leave_open(self, key: int) -> bool:
        """Leave open the one letter that a redelivery came from, if it came from one.

        Another letter for the same event would only say the same.
        """
        asked = self._under_way.get(key)
        if asked is None or asked.letter is None or not asked.is_single:
            return False
        self._under_way[key] = asked._replace(letter=None)
        return True

    def end(self, key: int) -> None:
        """Note that one is done: its request goes, its letter is closed."""
        asked = self._under_way.pop(key, None)
        if asked is not None:
            self._answered.append((asked.request, asked.letter))

    def take_answered(self) -> list[tuple[int, int | None]]:
        """Return the requests that are done and not written yet."""
        done, self._answered = self._answered, []
        return done
