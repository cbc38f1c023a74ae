"""A job's new API events, in the order they are told, as messages and metrics.

Order is (created_at, step, position): several events share a second, and the API lists
the metrics of one second in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from tunewatch.events import Happening, MessageLogged, MetricsRecorded
from tunewatch.events.catalogue import PointObject
from tunewatch.model import Entry, MetricPoint, finite

MOST_POINTS = 500
"""Points in one event, at most."""
MOST_BYTES = 120_000
"""Bytes of points in one event, at most; with the envelope it stays below 128 KiB."""


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries (given oldest first) in the order they are told, each id once.

    Messages keep their place within a second; the metrics of a second fill the places
    of metrics by step.
    """
    unique = {entry.id: entry for entry in entries}
    dated: list[tuple[int, Entry]] = []
    at = 0
    for entry in unique.values():
        at = entry.created_at or at  # one without a date keeps its place
        dated.append((at, entry))
    ordered: list[Entry] = []
    for _, same in groupby(sorted(dated, key=_second), key=_second):
        second = [entry for _, entry in same]
        by_step = iter(sorted((e for e in second if e.point), key=_step))
        ordered.extend(next(by_step) if e.point else e for e in second)
    return ordered


def _second(dated: tuple[int, Entry]) -> int:
    return dated[0]


def _step(entry: Entry) -> int:
    return entry.point.step if entry.point else 0


def numbered(point: MetricPoint, n: int, created_at: int | None) -> MetricPoint:
    """Return the point with its ordinal, finite values only."""
    values = {
        key: number
        for key, value in point.values.items()
        if (number := finite(value)) is not None
    }
    return MetricPoint(
        n=n,
        step=point.step,
        total_steps=point.total_steps,
        created_at=created_at,
        values=values,
    )


def tell(
    entries: Sequence[Entry], points: Sequence[MetricPoint]
) -> Iterator[Happening]:
    """Yield what new entries (in order) say: a message each, metrics in groups.

    `points` are those of the metric entries, with their ordinals, in the same order.
    """
    numbered_points = iter(points)
    group: list[tuple[str, int, MetricPoint]] = []
    for entry in entries:
        if entry.point is not None:
            group.append((entry.id, entry.created_at, next(numbered_points)))
            continue
        yield from _metrics(group)
        group = []
        yield _message(entry)
    yield from _metrics(group)


def _message(entry: Entry) -> Happening:
    return Happening(
        type=MessageLogged.TYPE,
        key=(entry.id,),
        created_at=entry.created_at or None,
        payload=MessageLogged(
            level=entry.level,
            message=entry.message,
            event_id=entry.id,
            event_type=entry.type,
            event_data=entry.data,
        ),
    )


def _metrics(group: Sequence[tuple[str, int, MetricPoint]]) -> Iterator[Happening]:
    start = 0
    for end in _cuts([point for _, _, point in group]):
        part = group[start:end]
        yield Happening(
            type=MetricsRecorded.TYPE,
            key=(part[0][0], part[-1][0], len(part)),
            created_at=part[-1][1] or None,
            payload=recorded([point for _, _, point in part]),
        )
        start = end


def tell_file(
    file_id: str,
    points: Sequence[MetricPoint],
    created_at: int | None,
    *,
    is_open: bool = False,
) -> Iterator[Happening]:
    """Yield the points that a result file filled in.

    One that is open may fill the same steps again, with other values: then the first
    ordinal tells the two apart.
    """
    start = 0
    for end in _cuts(points):
        part = points[start:end]
        steps = (file_id, part[0].step, part[-1].step)
        yield Happening(
            type=MetricsRecorded.TYPE,
            key=(*steps, part[0].n) if is_open else steps,
            created_at=created_at,
            payload=recorded(part),
        )
        start = end


def recorded(points: Sequence[MetricPoint]) -> MetricsRecorded:
    """Return the payload for points."""
    return MetricsRecorded(
        points=tuple(
            PointObject(
                n=point.n,
                step=point.step,
                total_steps=point.total_steps,
                created_at=point.created_at,
                values=point.values,
            )
            for point in points
        )
    )


def _cuts(points: Sequence[MetricPoint]) -> Iterator[int]:
    """Yield where to cut so that no event grows past its limits."""
    size = count = 0
    for index, point in enumerate(points):
        weight = 96 + sum(len(key.encode()) + 30 for key in point.values)
        if count and (count == MOST_POINTS or size + weight > MOST_BYTES):
            yield index
            size = count = 0
        size += weight
        count += 1
    if count:
        yield len(points)
