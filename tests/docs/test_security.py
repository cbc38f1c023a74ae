"""SECURITY.md promises nothing without a test that is there."""

from __future__ import annotations

import re

import pytest

from support.reference_tables import ROOT

TEXT = (ROOT / "SECURITY.md").read_text()
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", TEXT)))


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_a_test_that_is_named_is_there(file, name):
    assert re.search(
        rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE
    )


def test_every_mention_of_a_test_is_in_the_form_that_is_checked():
    assert len(re.findall(r"::test_", TEXT)) == len(
        re.findall(r"`tests/[\w/]+\.py::test_\w+`", TEXT)
    )
    assert len(TESTS) > 30
