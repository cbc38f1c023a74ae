"""deploy/FAULTS.md is as the code writes it, and names every long form there is."""

from __future__ import annotations

import json
import re

import pytest

from support.distribution import ROOT
from support.fault_table import PAGE, RECORD, page
from support.faults_tried import FAULTS, OTHERS
from support.reliability_bars import BARS

LONG_FORM = re.compile(
    r"^@pytest\.mark\.faults\n(?:@.*\n)*(?:async )?def (test_\w+)\(", re.MULTILINE
)
WHOLE_FILE = re.compile(r"^pytestmark = .*pytest\.mark\.faults", re.MULTILINE)

RECORDED = json.loads(RECORD.read_text())


def long_forms():
    for directory in ("tests/faults", "tests/replicas"):
        for path in sorted((ROOT / directory).glob("test_*.py")):
            text = path.read_text()
            if not WHOLE_FILE.search(text):
                for name in LONG_FORM.findall(text):
                    yield f"{directory}/{path.name}::{name}"


def test_the_page_is_as_the_code_writes_it():
    assert PAGE.read_text() == page()


def test_every_long_form_is_in_the_table_and_the_other_way_round():
    assert sorted(long_forms()) == sorted(one.test for one in FAULTS)


@pytest.mark.parametrize("one", [*FAULTS, *OTHERS], ids=lambda one: one.name)
def test_a_test_that_is_named_is_there_and_enters_the_name_of_its_fault(one):
    file, _, name = one.test.partition("::")
    text = (ROOT / file).read_text()
    assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE)
    if "track_record(" in text and one in FAULTS:
        assert f'"{one.name}"' in text


@pytest.mark.parametrize("line", RECORDED, ids=lambda line: line["fault"])
def test_a_line_of_the_record_tells_of_a_fault_that_is_explained(line):
    assert line["fault"] in {one.name for one in (*FAULTS, *OTHERS)}


@pytest.mark.parametrize("line", RECORDED, ids=lambda line: line["fault"])
def test_seconds_are_seconds_and_nothing_recovers_in_no_time(line):
    assert isinstance(line["seconds"], int)
    assert not line.get("recovered in", "").startswith("0.0 s")


def test_every_bar_that_a_fault_answers_is_explained():
    explained = {bar.number for bar in BARS}
    answered = {number for one in (*FAULTS, *OTHERS) for number in one.bars}
    # Those of deliveries have their own places.
    assert answered - explained <= {16, 18, 19, 20, 21, 25, 31}
