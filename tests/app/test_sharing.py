"""Who asks whom for how many sources."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunewatch.app.sharing import MOST, due, shares
from tunewatch.store.lease_rows import LeaseRow


def leases(*owners):
    return [LeaseRow(number, owner, 1, False) for number, owner in enumerate(owners)]


def every(rows):
    return {row.source_id for row in rows}


def test_who_has_none_asks_who_has_most():
    rows = leases("a", "a", "a", "b")
    assert [row.owner for row in due(rows, me="c", wanted=every(rows))] == ["a"]


def test_nobody_asks_for_one_more_when_it_would_be_one_more_only():
    rows = leases("a", "a", "b")
    assert due(rows, me="b", wanted=every(rows)) == []


def test_what_is_not_looked_at_here_is_not_asked_for():
    rows = leases("a", "a", "a", "a")
    assert due(rows, me="b", wanted={2}) == [rows[2]]


def test_what_is_free_counts_for_nobody():
    rows = [*leases("a", "a"), LeaseRow(9, "b", 1, True), LeaseRow(10, "b", 1, True)]
    assert shares(rows) == {"a": 2}
    assert [row.owner for row in due(rows, me="b", wanted=every(rows))] == ["a"]


@given(st.lists(st.sampled_from("abcd"), max_size=60))
def test_asking_in_turns_ends_with_even_shares(owners):
    rows = leases(*owners)
    for _ in range(4 * len(rows)):
        for me in "abcd":
            for asked in due(rows, me=me, wanted=every(rows))[:MOST]:
                rows[asked.source_id] = asked._replace(owner=me)
    counts = [shares(rows)[one] for one in "abcd"]
    assert max(counts) - min(counts) <= 1
