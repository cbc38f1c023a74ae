"""Fewer points: what stands out stays, nothing is made up."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tunewatch.api.downsampling import downsampled, narrowed
from tunewatch.model import MetricPoint

NAMES = ("train_loss", "valid_loss")
values = st.dictionaries(
    st.sampled_from(NAMES),
    st.floats(allow_nan=False, allow_infinity=False),
    min_size=1,
)
curves = st.lists(st.tuples(st.integers(0, 500), values), max_size=120).map(
    lambda told: [
        MetricPoint(step=step, values=of, n=n) for n, (step, of) in enumerate(told, 1)
    ]
)


def series(points, name):
    return [(p.n, p.values[name]) for p in points if name in p.values]


@given(curves, st.integers(4, 40))
def test_every_value_is_one_of_the_curves_and_no_metric_has_too_many(points, most):
    fewer = downsampled(points, most)
    for name in NAMES:
        every, kept = series(points, name), series(fewer, name)
        assert set(kept) <= set(every)
        assert len(kept) == len(set(kept)) <= max(most, 0)
        if len(every) <= most:
            assert sorted(kept) == sorted(every)


@given(curves, st.integers(4, 40))
def test_the_first_the_last_the_lowest_and_the_highest_stay(points, most):
    ordered = sorted(points, key=lambda p: (p.step, p.n))
    fewer = downsampled(points, most)
    assert fewer == sorted(fewer, key=lambda p: (p.step, p.n))
    for name in NAMES:
        every, kept = series(ordered, name), series(fewer, name)
        if every:
            assert (kept[0], kept[-1]) == (every[0], every[-1])
            assert min(v for _, v in kept) == min(v for _, v in every)
            assert max(v for _, v in kept) == max(v for _, v in every)


@given(curves, st.integers(4, 40))
def test_what_is_around_the_values_stays_as_it_is(points, most):
    known = {p.n: p for p in points}
    for point in downsampled(points, most):
        was = known[point.n]
        assert (point.step, point.created_at, point.total_steps) == (
            was.step,
            was.created_at,
            was.total_steps,
        )
        assert point.values


@given(curves)
def test_only_the_metrics_that_are_wanted_come(points):
    for fewer in (
        narrowed(points, ["valid_loss"]),
        downsampled(points, 1000, metrics=["valid_loss"]),
    ):
        assert sorted(series(fewer, "valid_loss")) == sorted(
            series(points, "valid_loss")
        )
        assert all(point.values.keys() == {"valid_loss"} for point in fewer)
    assert narrowed(points, []) == points


def test_a_spike_is_seen_however_much_is_left_out():
    points = [
        MetricPoint(step=n, values={"loss": 99.0 if n == 4711 else math.sin(n)}, n=n)
        for n in range(10_000)
    ]
    fewer = downsampled(points, 20)
    assert len(fewer) <= 20
    assert 4711 in {point.step for point in fewer}
