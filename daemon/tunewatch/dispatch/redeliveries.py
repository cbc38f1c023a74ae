"""The redeliveries of one plugin at one source: taken up, under way, over.

Each is a lane of its own, whose key is minus the id of its stretch, and takes up where
the row of an earlier process left it. Few are under way at once, however many wait.
Knows nothing of what becomes of one delivery.
"""

from __future__ import annotations

import structlog

from tunewatch.clock import Clock
from tunewatch.dispatch.lane import Lane
from tunewatch.dispatch.lane_rows import ordeal_of
from tunewatch.dispatch.patience import CRASHES
from tunewatch.dispatch.track import Track
from tunewatch.store.heads import Wanted
from tunewatch.store.lane_records import LaneRow
from tunewatch.store.redelivery import Ended, Redelivery

_log = structlog.get_logger(__name__)

GONE = "nothing of it is left: retention removed the events, or they are not wanted"
UNWANTED = "the plugin is not subscribed to this job: its metadata say so"
DEAF = "the plugin takes no events"
CRASHED = f"the process ended {CRASHES} times while only this was out"


class Redeliveries:
    """See the module. `room` is how many may be under way at once."""

    def __init__(self, plugin: str, clock: Clock, *, room: int) -> None:
        self.kept: dict[int, LaneRow] = {}
        """Rows from before this process, until their stretch is read."""
        self.kept_suspects: set[int] = set()
        self.room = room
        self._plugin = plugin
        self._clock = clock
        self._under_way: dict[int, Redelivery] = {}
        self._wanted: dict[int, Wanted] = {}
        self._ended: list[Ended] = []
        self._may_be_more = False

    @property
    def is_wanting(self) -> bool:
        """Whether more should be read: some may wait, and there is room for them."""
        return self._may_be_more and len(self._under_way) <= self.room // 2

    def get(self, key: int) -> tuple[Redelivery, Wanted] | None:
        """Return the one whose lane this is, and which of its events are meant."""
        asked = self._under_way.get(key)
        return None if asked is None else (asked, self._wanted[key])

    def asked_by(self, key: int) -> int | None:
        """Return the request that a lane is of, None if it is a job's own."""
        asked = self._under_way.get(key)
        return None if asked is None else asked.redelivery

    @property
    def is_busy(self) -> bool:
        """Whether any is under way."""
        return bool(self._under_way)

    def withdraw(self, found: list[Redelivery], track: Track) -> None:
        """End those that somebody cancelled: they are not among the oldest any more."""
        still = {-one.id for one in found}
        for key in [key for key in self._under_way if key not in still]:
            asked, lane = self._under_way[key], track.lanes[key]
            if not asked.is_single:  # what is left of it is not delivered
                self._under_way[key] = asked._replace(letter=0)
            track.withdraw(lane)
            if key not in track.lanes:
                del self._under_way[key], self._wanted[key]

    def offer(self, found: list[Redelivery]) -> list[Redelivery]:
        """Return those among the oldest that wait which are to be taken up now."""
        over = {one.stretch for one in self._ended}
        fresh = [
            one
            for one in found
            if -one.id not in self._under_way and one.id not in over
        ]
        fits = fresh[: self.room - len(self._under_way)]
        self._may_be_more = len(found) >= self.asks_for or len(fits) < len(fresh)
        return fits

    @property
    def asks_for(self) -> int:
        """How many are to be read, so that those under way do not hide the others."""
        return self.room + len(self._under_way) + len(self._ended)

    def take_up(self, asked: Redelivery, wanted: Wanted, track: Track) -> None:
        """Give a redelivery its lane, unless it was out alone at too many ends."""
        key = -asked.id
        row = self.kept.pop(key, LaneRow(key, asked.first - 1))
        if row.crashes >= CRASHES:
            self.refuse(asked, CRASHED)
            track.forget(key)
            return
        self._under_way[key], self._wanted[key] = asked, wanted
        ordeal, until = ordeal_of(row, self._clock)
        cursor = max(row.cursor, asked.first - 1)
        if key in self.kept_suspects:
            track.suspects.append(key)
        track.restore(key, cursor, (), more=True, ordeal=ordeal, until=until)

    def refuse(self, asked: Redelivery, reason: str) -> None:
        """Note that one cannot be done."""
        _log.warning(
            "redelivery.refused",
            plugin=self._plugin,
            redelivery=asked.redelivery,
            reason=reason,
        )
        self._ended.append(Ended(asked.id, asked.redelivery, 0, reason))

    def leave_open(self, key: int) -> bool:
        """Leave open the one letter that a redelivery came from, if it came from one.

        Another letter for the same event would only say the same.
        """
        asked = self._under_way.get(key)
        if asked is None or not asked.letter or not asked.is_single:
            return False
        self._under_way[key] = asked._replace(letter=0)
        return True

    def end(self, lane: Lane) -> None:
        """Note that one is over: its stretch goes, its letter is closed."""
        asked = self._under_way.pop(lane.key, None)
        if asked is None:
            return
        del self._wanted[lane.key]
        if lane.cursor < asked.first:
            self.refuse(asked, GONE)
        else:
            self._ended.append(Ended(asked.id, asked.redelivery, asked.letter))

    def take_ended(self) -> list[Ended]:
        """Return those that are over and not written yet."""
        ended, self._ended = self._ended, []
        return ended
