"""Whatever stands in a file: settings, or all mistakes told; never a defect."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.odd_configurations import TREES, as_toml, check
from tunewatch.events import GROUPS, matcher
from tunewatch.sources.openai.headers import retry_after

few = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@few
@given(TREES)
def test_any_tree_is_settings_or_mistakes_that_repeat_no_value(tmp_path, tree):
    check(as_toml(tree), tmp_path)


@few
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_settings_or_mistakes(tmp_path, raw):
    check(raw, tmp_path)


@given(st.lists(st.text(max_size=12), max_size=4), st.text(max_size=30))
def test_any_patterns_are_a_filter_or_a_group_that_is_not_there(patterns, name):
    if any(one.startswith("@") and one not in GROUPS for one in patterns):
        with pytest.raises(ValueError, match="group"):
            matcher(patterns)
    else:
        assert matcher(patterns)(name) in {True, False}


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "date"]),
        st.one_of(
            st.text(max_size=40),
            st.floats().map(str),
            st.integers().map(str),
            st.sampled_from(
                [
                    "Fri, 31 Dec 9999 23:59:59 GMT",
                    "Thu, 01 Jan 1970 00:00:00 +9999",
                    *("1e999", "-0", "\uff19", "0x10", "1_0"),
                ]
            ),
        ),
    )
)
def test_any_retry_after_of_a_provider_is_a_time_that_can_be_waited_or_none(headers):
    wait = retry_after(headers, now=1_760_000_000.0)
    assert wait is None or 0 <= wait < float("inf")
