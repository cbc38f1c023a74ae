"""What the store keeps of sources and plugins that no configuration names any more.

Plain functions over a connection; writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, Select, func, select, union

from tunewatch.store.schema import dead_letter, job, lane, mark, plugin, source


class LeftSource(NamedTuple):
    """A source that nobody watches."""

    name: str
    jobs: int
    unsettled: int  #: jobs of which more could have come
    lanes: int  #: in which something waits for a plugin


class LeftPlugin(NamedTuple):
    """A plugin that nobody runs."""

    name: str
    last_used_at: float | None  #: unix seconds
    dead_letters: int  #: open ones


def left_sources(
    connection: Connection, configured: Collection[str]
) -> list[LeftSource]:
    """Return the sources that are not configured and still have jobs or lanes."""
    found = connection.execute(select(source.c.id, source.c.name).order_by(source.c.id))
    left = []
    for row in found.all():
        if row.name in configured:
            continue
        mine = select(func.count()).select_from(job).where(job.c.source_id == row.id)
        lanes = select(func.count()).select_from(lane)
        one = LeftSource(
            name=row.name,
            jobs=_count(connection, mine),
            unsettled=_count(connection, mine.where(~job.c.settled, ~job.c.removed)),
            lanes=_count(connection, lanes.where(lane.c.source_id == row.id)),
        )
        if one.jobs or one.lanes:
            left.append(one)
    return left


def left_plugins(
    connection: Connection, configured: Collection[str]
) -> list[LeftPlugin]:
    """Return the plugins that are not configured and of which something is kept."""
    is_open = dead_letter.c.closed_at.is_(None)
    names = union(
        select(mark.c.plugin.label("name")),
        select(plugin.c.name),
        select(dead_letter.c.plugin).where(is_open),
    )
    left = []
    for name in sorted(connection.execute(names).scalars()):
        if name not in configured:
            used = select(func.max(mark.c.last_used_at)).where(mark.c.plugin == name)
            letters = select(func.count()).where(is_open, dead_letter.c.plugin == name)
            last = connection.scalar(used)
            left.append(LeftPlugin(name, last, _count(connection, letters)))
    return left


def _count(connection: Connection, statement: Select[int]) -> int:
    return connection.scalar(statement) or 0
