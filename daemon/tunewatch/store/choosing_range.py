"""The events of a range, by time or position, that one plugin is subscribed to.

Read by source and in parts: one statement must not outlast its time. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, select, text

from tunewatch.events import has_metadata
from tunewatch.store import waiting
from tunewatch.store.choice import CannotChoose, Selection, Stretch, Subscribed
from tunewatch.store.counting import counted, wanted_again
from tunewatch.store.schema import job, mark

_OF_SOURCE = text(
    "SELECT p.job_key, p.type, p.derived, p.first, p.last, p.number, j.metadata FROM ("
    " SELECT job_key, type, derived, min(position) AS first, max(position) AS last,"
    " count(*) AS number FROM event WHERE source_id = :source AND position > :after"
    " AND position <= :upto GROUP BY job_key, type, derived"
    ") p LEFT JOIN job j ON j.key = p.job_key"
)


class Range(NamedTuple):
    """Positions of one source, and for whom."""

    plugin: Subscribed
    source_id: int
    after: int
    upto: int


class Group(NamedTuple):
    """The events of one type that one job has in a range."""

    job_key: int
    type: str
    derived: bool
    first: int
    last: int
    number: int
    metadata: bytes | None


def is_bounded(asked: Selection) -> bool:
    """Whether a range is meant at all."""
    bounds = (asked.since, asked.until, asked.first, asked.last)
    return asked.missed or any(one is not None for one in bounds)


def bounds(
    connection: Connection,
    asked: Selection,
    plugin: Subscribed,
    source: tuple[int, str],
) -> Range:
    """Return the positions of a source that are meant. Raises CannotChoose."""
    source_id, name = source
    newest = waiting.newest(connection, source_id)
    after = (asked.first or 1) - 1
    upto = newest if asked.last is None else min(newest, asked.last)
    if asked.missed:
        upto = min(upto, _start(connection, plugin.name, source_id, name, newest))
    find = partial(waiting.observed_before, connection, source_id, upto=newest)
    if asked.since is not None:
        after = max(after, find(moment=asked.since, after=0))
    if asked.until is not None:
        upto = min(upto, find(moment=asked.until, after=0))
    return Range(plugin, source_id, after, upto)


def _start(
    connection: Connection, plugin: str, source_id: int, source: str, newest: int
) -> int:
    """Return the position up to which a plugin was never to be told anything."""
    row = connection.execute(
        select(mark.c.start).where(
            mark.c.plugin == plugin, mark.c.source_id == source_id
        )
    ).one_or_none()
    if row is None:
        return newest
    if row.start is None:
        raise CannotChoose(
            f"where {plugin} began at source {source} is not known: an earlier version "
            "did not note it; say since when and until when instead"
        )
    start: int = row.start
    return start


def groups(connection: Connection, asked: Range) -> list[Group]:
    """Return what lies in a range, by job and type. For at most `waiting.PART`."""
    values = {"source": asked.source_id, "after": asked.after, "upto": asked.upto}
    return [Group(*row) for row in connection.execute(_OF_SOURCE, values)]


def of_job(
    connection: Connection, asked: Range, job_key: int, types: tuple[str, ...]
) -> Stretch | None:
    """Return what lies in a range of one job, None if the plugin wants nothing."""
    plugin = asked.plugin
    data = select(job.c.metadata).where(job.c.key == job_key)
    if not has_metadata(connection.scalar(data), plugin.metadata):
        return None
    where = (asked.source_id, job_key, asked.after + 1, asked.upto)
    return counted(connection, plugin, Stretch(plugin.name, *where, types=types))


def put_together(
    plugin: Subscribed, source_id: int, found: Iterable[Group], types: tuple[str, ...]
) -> list[Stretch]:
    """Return one stretch a job, of what the plugin wants."""
    wanted = wanted_again(plugin, named=False, types=types)
    by_job: dict[int, Stretch] = {}
    for one in found:
        if not wanted(one.type, one.derived):
            continue
        if one.job_key and not has_metadata(one.metadata, plugin.metadata):
            continue
        here = (source_id, one.job_key, one.first, one.last)
        fresh = Stretch(plugin.name, *here, types=types, events=one.number)
        before = by_job.get(one.job_key)
        by_job[one.job_key] = fresh if before is None else _joined(before, fresh)
    return sorted(by_job.values(), key=lambda one: one.first)


def _joined(one: Stretch, other: Stretch) -> Stretch:
    return one._replace(
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        events=one.events + other.events,
    )
