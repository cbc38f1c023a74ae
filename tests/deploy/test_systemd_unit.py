"""The unit file by itself: its score, and that systemd understands all of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.distribution import ROOT
from tunewatch.cli import exits
from tunewatch.config import DaemonSettings

SYSTEMD = ROOT / "deploy/systemd"


def score(unit: Path) -> float:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Overall exposure level for \S+: (\S+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


@pytest.fixture
def unit(tmp_path):
    return Path(shutil.copy(SYSTEMD / "tunewatch.service", tmp_path))


def test_its_score_is_that_of_the_best(unit):
    assert score(unit) <= 1.1


def test_with_a_list_of_addresses_it_is_better_still(unit):
    drop_in = unit.with_name("tunewatch.service.d") / "addresses.conf"
    drop_in.parent.mkdir()
    shutil.copy(SYSTEMD / "addresses.conf.example", drop_in)
    assert score(unit) <= 0.9


def test_systemd_understands_every_word_of_it(unit):
    text = unit.read_text().replace(
        "/usr/local/lib/tunewatch/bin/tunewatch", "/bin/true"
    )
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=True,
    )
    # It ends with 0 whatever it finds; what it finds it says.
    assert done.stderr == ""


def test_a_configuration_that_cannot_be_used_is_not_tried_again(unit):
    assert f"RestartPreventExitStatus={exits.USAGE}\n" in unit.read_text()


def test_a_stop_has_longer_than_deliveries_get(unit):
    found = re.search(r"TimeoutStopSec=(\d+)", unit.read_text())
    assert found is not None
    assert int(found[1]) > 2 * DaemonSettings.model_fields["shutdown_grace"].default
