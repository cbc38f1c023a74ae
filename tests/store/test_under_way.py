"""What is under way is not asked for twice, whatever overlaps with what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunewatch.store.choice import Stretch
from tunewatch.store.under_way import UnderWay


@st.composite
def stretches(draw):
    first = draw(st.integers(1, 30))
    named = draw(st.booleans())
    return Stretch(
        plugin=draw(st.sampled_from(["ops", "spare"])),
        source_id=1,
        job_key=draw(st.integers(1, 2)),
        first=first,
        last=first if named else first + draw(st.integers(0, 10)),
        letter=draw(st.sampled_from([0, 0, 0, 7, 8])),
        named=named,
        types=() if named else draw(st.sampled_from([(), ("b", "a"), ("a", "b")])),
    )


def covers(other: Stretch, one: Stretch, position: int) -> bool:
    """Whether a position is under way by another stretch: the plain definition."""
    return (
        other.where == one.where
        and other.first <= position <= other.last
        and (other.named or not one.named)
        and (not other.types or set(other.types) == set(one.types))
    )


@given(st.lists(stretches(), max_size=12), stretches())
def test_what_is_left_begins_behind_all_that_is_under_way(others, one):
    waiting = UnderWay()
    for other in sorted(others, key=lambda each: each.first):
        waiting.add(other)
    first = one.first
    while any(covers(other, one, first) for other in others):
        first += 1
    left = waiting.left(one)
    is_same_letter = any(one.letter and one.letter == other.letter for other in others)
    if is_same_letter or first > one.last:
        assert left is None
    elif one.letter:
        assert left == one
    else:
        assert left == one._replace(first=first)
