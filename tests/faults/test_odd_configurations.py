"""The long form: many more configurations as nobody means them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.odd_configurations import TREES, as_toml, check

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
many = settings(
    max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck)
)


@many
@given(TREES)
def test_no_tree_is_a_defect_or_repeats_a_value(tmp_path, tree):
    check(as_toml(tree), tmp_path)


@many
@given(st.binary(max_size=500))
def test_no_bytes_are_a_defect(tmp_path, raw):
    check(raw, tmp_path)
