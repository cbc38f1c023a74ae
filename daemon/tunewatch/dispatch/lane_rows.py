"""The trouble of a lane as its row keeps it, and as a later process takes it up.

Pure: knows neither what else is written nor what becomes of the lane.
"""

from __future__ import annotations

from tunewatch.clock import Clock
from tunewatch.dispatch.lane import Ordeal
from tunewatch.dispatch.unwritten import Change
from tunewatch.store.lane_records import LaneRow


def row_of(key: int, change: Change) -> LaneRow:
    """Return a lane as it is kept."""
    ordeal = change.ordeal
    if ordeal is None:
        return LaneRow(key, change.cursor)
    return LaneRow(
        key,
        change.cursor,
        ordeal.tries,
        ordeal.first_failure_at,
        ordeal.wait,
        ordeal.wait_until,
        ordeal.crashes,
        ordeal.last_error,
    )


def ordeal_of(row: LaneRow, clock: Clock) -> tuple[Ordeal | None, float | None]:
    """Return the trouble that a row tells of, and the monotonic end of its wait.

    A wait is never longer than it was, whatever the wall clock says.
    """
    if not row.troubled:
        return None, None
    ordeal = Ordeal(
        row.tries,
        row.first_failure_at,
        row.wait,
        row.wait_until,
        row.crashes,
        row.last_error,
    )
    if row.wait is None or row.wait_until is None:
        return ordeal, None
    left = min(row.wait, row.wait_until - clock.now())
    return ordeal, (clock.monotonic() + left) if left > 0 else None
