"""How many events a stretch has for its plugin, and which they are.

By the same question that the dispatcher asks, so that what is shown is what goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlalchemy import Connection, select, text

from tunewatch.events import matcher
from tunewatch.store.choice import Line, Stretch, Subscribed
from tunewatch.store.heads import Reach, Wanted, heads
from tunewatch.store.schema import event, job, source

# The plus: see `heads`.
_OF_JOB = text(
    "SELECT type, derived, min(position) AS first, max(position) AS last,"
    " count(*) AS number FROM event WHERE job_key = :job AND +source_id = :source"
    " AND position > :after AND position <= :upto GROUP BY type, derived"
)


def wanted_again(plugin: Subscribed, *, named: bool, types: Sequence[str]) -> Wanted:
    """Return the question which events of a stretch a plugin gets."""
    wants: Callable[[str], bool] = matcher(("*",) if named else plugin.events)
    is_meant = matcher(types or ("*",))
    return lambda kind, _derived: wants(kind) and is_meant(kind)


def counted(
    connection: Connection, plugin: Subscribed, stretch: Stretch
) -> Stretch | None:
    """Return a stretch with what the plugin gets of it, None if that is nothing."""
    wanted = wanted_again(plugin, named=stretch.named, types=stretch.types)
    rows = connection.execute(
        _OF_JOB,
        {
            "job": stretch.job_key,
            "source": stretch.source_id,
            "after": stretch.first - 1,
            "upto": stretch.last,
        },
    )
    ends = [row for row in rows if wanted(row.type, bool(row.derived))]
    if not ends:
        return None
    return stretch._replace(
        first=min(row.first for row in ends),
        last=max(row.last for row in ends),
        events=sum(row.number for row in ends),
    )


def lines(
    connection: Connection,
    stretches: Iterable[Stretch],
    plugins: Mapping[str, Subscribed],
    *,
    limit: int,
) -> list[Line]:
    """Return the first events of stretches, in the order they would go out."""
    found: list[Line] = []
    for one in stretches:
        plugin = plugins[one.plugin]
        after = one.first - 1
        while len(found) < limit:
            wanted = wanted_again(plugin, named=one.named, types=one.types)
            reach = Reach(one.job_key, after, one.last, wanted)
            ahead = heads(connection, one.source_id, reach)
            found += _lines_at(connection, one, ahead.positions[: limit - len(found)])
            if not ahead.more:
                break
            after = ahead.positions[-1]
        if len(found) >= limit:
            break
    return found


def _lines_at(
    connection: Connection, stretch: Stretch, positions: Sequence[int]
) -> list[Line]:
    rows = connection.execute(
        select(event.c.id, event.c.type, event.c.position, source.c.name, job.c.id)
        .join(source, source.c.id == event.c.source_id)
        .join(job, job.c.key == event.c.job_key, isouter=True)
        .where(event.c.position.in_(positions))
        .order_by(event.c.position)
    )
    return [
        Line(
            plugin=stretch.plugin,
            source=source_name,
            job_id=job_id,
            event_id=event_id,
            event_type=kind,
            position=position,
            letter=stretch.letter or None,
        )
        for event_id, kind, position, source_name, job_id in rows
    ]
