from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewatch.settings import Wanted, duration_text, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("15s", 15.0),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("30d", 2592000.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "15", "s", "-1s", "1 s", "1w", "1e3s", "٣s", 15, None, True, "99999d"]
)
def test_anything_else_is_refused_without_being_repeated(text):
    with pytest.raises(Wanted, match=r"^a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10_000 * 86_400_000))
def test_what_is_written_is_read_as_the_same(milliseconds):
    seconds = milliseconds / 1000
    assert parse_duration(duration_text(seconds)) == pytest.approx(seconds)
