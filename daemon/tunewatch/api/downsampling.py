"""Fewer points with the same look: what stands out stays, nothing is made up.

Pure: knows points, and not where they come from.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from tunewatch.model import MetricPoint


def downsampled(
    points: Sequence[MetricPoint], most: int, *, metrics: Collection[str] = ()
) -> list[MetricPoint]:
    """Return points by step, with at most `most` values of each metric.

    A metric that has more is cut into stretches of which the lowest and the highest
    value stay; its first and its last value always do. `metrics`, if given, are those
    that are wanted. `most` is at least 4.
    """
    ordered = sorted(points, key=lambda point: (point.step, point.n))
    kept: list[dict[str, float]] = [{} for _ in ordered]
    for name in _names(ordered, metrics):
        places = [at for at, point in enumerate(ordered) if name in point.values]
        values = [ordered[at].values[name] for at in places]
        for index in _standing_out(values, most):
            kept[places[index]][name] = values[index]
    both = zip(ordered, kept, strict=True)
    return [replace(point, values=values) for point, values in both if values]


def narrowed(
    points: Sequence[MetricPoint], metrics: Collection[str]
) -> list[MetricPoint]:
    """Return the points that have any of these metrics, with no others; () is all."""
    if not metrics:
        return list(points)
    wanted = set(metrics)
    chosen = ((p, {k: v for k, v in p.values.items() if k in wanted}) for p in points)
    return [replace(point, values=values) for point, values in chosen if values]


def _names(points: Sequence[MetricPoint], metrics: Collection[str]) -> list[str]:
    names = dict.fromkeys(name for point in points for name in point.values)
    return [name for name in names if not metrics or name in metrics]


def _standing_out(values: Sequence[float], most: int) -> list[int]:
    """Return the indices of what stays, of at least two values where there are."""
    if len(values) <= most:
        return list(range(len(values)))
    inner = range(1, len(values) - 1)
    stretches = (most - 2) // 2
    kept = {0, len(values) - 1}
    for number in range(stretches):
        start = inner.start + len(inner) * number // stretches
        stop = inner.start + len(inner) * (number + 1) // stretches
        stretch = range(start, stop)
        kept.add(min(stretch, key=values.__getitem__))
        kept.add(max(stretch, key=values.__getitem__))
    return sorted(kept)
