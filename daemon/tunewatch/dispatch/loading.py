"""What a dispatcher makes of the rows it finds: lanes with work, suspects first.

Pure: rows in, lanes out.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunewatch.dispatch.feed import Feed
from tunewatch.dispatch.lane_rows import ordeal_of
from tunewatch.dispatch.patience import CRASHES
from tunewatch.dispatch.track import Track
from tunewatch.store.lane_records import LaneRow
from tunewatch.store.records import EventRef
from tunewatch.store.resume import Found
from tunewatch.store.waiting import Pending


def load(
    feed: Feed,
    found: Found,
    pending: Iterable[Pending],
    suspects: dict[int, EventRef],
    *,
    seen: int,
) -> None:
    """Give a feed the lanes that have work above its mark."""
    mark = found.mark.position
    track = feed.track = Track(mark, max(mark, seen))
    rows = {row.job_key: row for row in found.lanes}
    track.rows = {key: row.cursor for key, row in rows.items()}
    feed.redeliveries.kept = {key: row for key, row in rows.items() if key < 0}
    wanted: dict[int, list[Pending]] = {}
    for part in pending:
        if feed.subscription.wants(
            part.type, part.derived
        ) and feed.subscription.wants_job(part.job_key, part.metadata):
            wanted.setdefault(part.job_key, []).append(part)
    for key, parts in wanted.items():
        _restore(feed, rows.get(key) or LaneRow(key, mark), parts)
    for item in found.mark.in_flight:
        _suspect(feed, item, suspects)


def _restore(feed: Feed, row: LaneRow, parts: list[Pending]) -> None:
    cursor = max(row.cursor, feed.track.mark_written)
    left = [part for part in parts if part.last > cursor]
    if not left:
        return
    upcoming: list[int] = []
    if all(part.first > cursor for part in left):
        upcoming = [min(part.first for part in left)]
    more = not upcoming or max(part.last for part in left) > upcoming[0]
    ordeal, until = ordeal_of(row, feed.clock)
    feed.track.restore(
        row.job_key, cursor, upcoming, more=more, ordeal=ordeal, until=until
    )


def _suspect(feed: Feed, item: int, suspects: dict[int, EventRef]) -> None:
    """Let what was out at an unclean end go first and alone, or give it up."""
    if item < 0:
        feed.redeliveries.kept_suspects.add(item)
        return
    ref = suspects.get(item)
    lane = feed.track.lanes.get(ref.job_key) if ref is not None else None
    if lane is None or lane.cursor >= item:
        return  # it was acknowledged after all, or is not wanted any more
    crashes = lane.ordeal.crashes if lane.ordeal is not None else 0
    if crashes < CRASHES:
        feed.track.suspects.append(lane.key)
        return
    lane.more = lane.more or len(lane.upcoming) > 0
    reason = f"the process ended {crashes} times while only this event was out"
    feed.give_up(lane, item, item, reason, "crash")
