"""What reactors concluded, committed with the acknowledgement of the cause.

A conclusion drawn from an older state of its job is refused, and asked for again by the
caller. Judges nothing of what was concluded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from tunewatch.store import schema
from tunewatch.store.derived import append_derived
from tunewatch.store.lane_records import Conclusion, Group
from tunewatch.store.records import EventRef, Fence


def moved_on(
    connection: Connection, conclusions: Sequence[Conclusion]
) -> frozenset[int]:
    """Lock the jobs, by key, and return which conclusions are about an older state."""
    if not conclusions:
        return frozenset()
    keys = sorted({conclusion.job_key for conclusion in conclusions})
    job = schema.job
    rows = connection.execute(
        select(job.c.key, job.c.revision)
        .where(job.c.key.in_(keys))
        .order_by(job.c.key)
        .with_for_update()
    )
    now = {key: revision for key, revision in rows}  # noqa: C416 - rows are not pairs
    refused: set[int] = set()
    for index, conclusion in enumerate(conclusions):
        key = conclusion.job_key
        if now.get(key) != conclusion.revision:
            refused.add(index)
    return frozenset(refused)


def conclude(
    connection: Connection, fence: Fence, group: Group, refused: frozenset[int]
) -> tuple[EventRef, ...]:
    """Append what was concluded and not refused; return its events."""
    refs: list[EventRef] = []
    for index, conclusion in enumerate(group.conclusions):
        if index in refused:
            continue
        appended = append_derived(
            connection,
            fence,
            conclusion.job_key,
            conclusion.revision,
            conclusion.cause,
            conclusion.plugin,
            conclusion.derived,
            now=group.at,
        )
        if appended is None:
            raise AssertionError("a job moved although its row is locked")
        refs.extend(appended)
    return tuple(refs)


def revisions_of(connection: Connection, keys: Iterable[int]) -> dict[int, int]:
    """Return the revisions of jobs, which a conclusion must quote."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    job = schema.job
    rows = connection.execute(
        select(job.c.key, job.c.revision).where(job.c.key.in_(wanted))
    )
    return {row.key: row.revision for row in rows}
