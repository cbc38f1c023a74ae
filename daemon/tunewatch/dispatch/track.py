"""The lanes of one plugin at one source: pure arithmetic over positions.

A lane exists here only while it has work, and holds positions, never bodies. The mark
never passes an event that is wanted and not finished. Knows no clock but the seconds
it is told, no store and no plugin.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence

from tunewatch.dispatch.floors import Floors
from tunewatch.dispatch.lane import Lane, Ordeal, Standing
from tunewatch.dispatch.unwritten import Change, Unwritten, Writing

AHEAD = 32
"""Positions a lane keeps in memory; what lies behind is asked for when it is near."""


class Track:
    """See the module. `seen`: everything up to there was judged."""

    def __init__(self, mark_written: int, seen: int) -> None:
        self.seen = seen
        self.lanes: dict[int, Lane] = {}
        self.suspects: deque[int] = deque()  #: keys: one at a time, first
        self._ready: deque[Lane] = deque()
        self._waiting: list[tuple[float, int]] = []
        self._floors = Floors()
        self._unwritten = Unwritten(mark_written, self.lanes)

    # What comes in

    def restore(
        self,
        key: int,
        cursor: int,
        upcoming: Sequence[int],
        *,
        more: bool,
        ordeal: Ordeal | None = None,
        until: float | None = None,
    ) -> None:
        """Take up a lane that has work since before this process."""
        lane = Lane(key, cursor, list(upcoming), more=more, ordeal=ordeal)
        lane.attempts = ordeal.tries if ordeal is not None else 0
        # Whatever is accepted from now on was accepted since it failed.
        lane.failed_call = 0 if lane.attempts else None
        self.lanes[key] = lane
        self._raise_floor(lane)
        if until is None:
            self._queue(lane)
        else:
            self._put_off(lane, until)

    def arrive(self, key: int, position: int) -> None:
        """Take in a wanted event; positions come in rising order."""
        self.seen = position
        lane = self.lanes.get(key)
        if lane is None:
            # Whatever came before in this job is finished: the lane had no work.
            lane = self.lanes[key] = Lane(key, position - 1, [position])
            self._raise_floor(lane)
            self._queue(lane)
        elif not lane.more and len(lane.upcoming) < AHEAD:
            lane.upcoming.append(position)
        else:
            lane.more = True

    def pass_by(self, position: int) -> None:
        """Note an event that is not wanted."""
        self.seen = max(self.seen, position)

    def forget(self, key: int) -> None:
        """Let the row of a lane go that is not taken up again."""
        self._unwritten.changes[key] = Change(0, None)

    def withdraw(self, lane: Lane) -> None:
        """End a lane before its time; what is out of it is its last."""
        if lane.standing is Standing.OUT:
            lane.upcoming, lane.more = lane.upcoming[:1], False
        else:
            self.forget(lane.key)
            self._leave(lane)

    # What goes out

    def take(self) -> Lane | None:
        """Return the next lane whose head may go out; it is out from then on."""
        if not self.has_ready:
            return None
        if self.suspects:
            lane = self.lanes[self.suspects[0]]
        else:
            lane = self._ready.popleft()
            lane.queued = False
        lane.standing = Standing.OUT
        return lane

    def wake(self, now: float) -> None:
        """Let lanes go on whose wait is over."""
        while (due := self.next_due()) is not None and due <= now:
            _, key = heapq.heappop(self._waiting)
            self._queue(self.lanes[key])

    @property
    def has_ready(self) -> bool:
        """Whether a lane could go out now; suspects before anything else."""
        while self.suspects:
            lane = self.lanes.get(self.suspects[0])
            if lane is not None and lane.standing is not Standing.WAITING:
                return lane.standing is Standing.READY
            self.suspects.popleft()  # it is settled, or waits: the next one may go
        while self._ready:
            lane = self._ready[0]
            if self.lanes.get(lane.key) is lane and lane.standing is Standing.READY:
                return True
            lane.queued = False
            self._ready.popleft()
        return False

    def put_back(self, lane: Lane) -> None:
        """Return a lane that did not go out after all, to the front."""
        lane.standing = Standing.READY
        lane.queued = True
        self._ready.appendleft(lane)

    def learn(self, lane: Lane, positions: Sequence[int], *, more: bool) -> None:
        """Take in the next positions of a lane; without any it has no work."""
        lane.upcoming = list(positions)
        lane.more = more
        if positions:
            self._raise_floor(lane)
        else:
            self._leave(lane)

    # What becomes of it

    def finish(self, lane: Lane, position: int | None = None) -> None:
        """Move a lane past its head, or past everything up to a position."""
        lane.cursor = lane.upcoming[0] if position is None else position
        lane.upcoming = [p for p in lane.upcoming if p > lane.cursor]
        lane.attempts = 0
        lane.failed_call = None
        lane.ordeal = None
        self._unwritten.changes[lane.key] = Change(lane.cursor, None)
        if lane.upcoming or lane.more:
            self._raise_floor(lane)
            self._queue(lane)
        else:
            self._leave(lane)

    def requeue(self, lane: Lane) -> None:
        """Put a lane behind all others: its head was not at fault."""
        self._queue(lane)

    def suffer(self, lane: Lane, ordeal: Ordeal, *, until: float) -> None:
        """Let a lane wait for the trouble of its head, until a monotonic time."""
        lane.ordeal = ordeal
        self._unwritten.changes[lane.key] = Change(lane.cursor, ordeal)
        self._put_off(lane, until)

    def clear(self) -> None:
        """Forget all lanes: the plugin wants nothing of this source any more."""
        for lane in list(self.lanes.values()):
            if lane.key >= 0:
                self._leave(lane)
        self.suspects.clear()

    def clear_suspect(self, key: int) -> None:
        """Note that a suspect went out and the process lived."""
        if key in self.suspects:
            self.suspects.remove(key)

    # What is written

    @property
    def mark_written(self) -> int:
        """The mark that is in the store."""
        return self._unwritten.mark

    @property
    def rows(self) -> dict[int, int]:
        """The lanes that are kept in the store, and their cursors."""
        return self._unwritten.rows

    @rows.setter
    def rows(self, rows: dict[int, int]) -> None:
        self._unwritten.rows = rows

    def mark(self) -> int:
        """Return the position up to which everything wanted is finished."""
        floor = self._floors.lowest(self._floor_of)
        done = self.seen if floor is None else floor - 1
        return max(self._unwritten.mark, done)

    def has_news(self, *, lag: int) -> bool:
        """Whether there is something to write, be it only a mark far behind."""
        unwritten = self._unwritten
        return bool(unwritten.changes) or unwritten.is_behind(self.mark(), lag=lag)

    def write(self) -> Writing:
        """Return what is to be written, as written from then on."""
        return self._unwritten.write(self.mark())

    # What one may ask

    def next_due(self) -> float | None:
        """Return the monotonic time when the next waiting lane may go on."""
        while self._waiting:
            until, key = self._waiting[0]
            lane = self.lanes.get(key)
            if lane is None or lane.standing is not Standing.WAITING:
                pass
            elif lane.until == until:
                return until
            heapq.heappop(self._waiting)
        return None

    def idle_lanes(self) -> Iterator[Lane]:
        """Return the lanes of which nothing is out, redeliveries left out."""
        for lane in self.lanes.values():
            if lane.standing is not Standing.OUT and lane.key >= 0:
                yield lane

    # Within

    def _queue(self, lane: Lane) -> None:
        lane.standing = Standing.READY
        if not lane.queued:
            lane.queued = True
            self._ready.append(lane)

    def _put_off(self, lane: Lane, until: float) -> None:
        lane.standing = Standing.WAITING
        lane.until = until
        heapq.heappush(self._waiting, (until, lane.key))

    def _leave(self, lane: Lane) -> None:
        lane.standing = Standing.OUT
        self.lanes.pop(lane.key, None)

    def _raise_floor(self, lane: Lane) -> None:
        if lane.key < 0:
            return  # a redelivery holds up no mark
        self._floors.push(lane.key, lane.floor, self._all_floors)

    def _floor_of(self, key: int) -> int | None:
        lane = self.lanes.get(key)
        return None if lane is None else lane.floor

    def _all_floors(self) -> Iterator[tuple[int, int]]:
        for lane in self.lanes.values():
            if lane.key >= 0:
                yield lane.floor, lane.key
