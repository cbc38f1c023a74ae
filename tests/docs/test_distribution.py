"""What is installed is what pyproject.toml says, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from support.reference_tables import ROOT
from tunewatch.plugin import Plugin
from tunewatch.sources.contract import SourceKind

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = PROJECT["entry-points"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel as pip would; it asks no index for anything."""
    directory = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-index", "--no-build-isolation", "--wheel-dir", str(directory)),
            str(ROOT),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    (built,) = directory.glob("*.whl")
    with zipfile.ZipFile(built) as opened:
        yield opened


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel):
    names = wheel.namelist()
    tops = {name.partition("/")[0] for name in names}
    (info,) = {top for top in tops if top.endswith(".dist-info")}
    assert tops == {"tunewatch", "tunewatch_plugins", info}
    assert {"tunewatch/py.typed", "tunewatch_plugins/py.typed"} <= set(names)
    assert f"{info}/licenses/LICENSE" in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_holds_every_module_of_the_tree(wheel):
    tree = {
        str(module.relative_to(ROOT / root))
        for root in ("daemon", "plugins")
        for module in (ROOT / root).rglob("*")
        if module.suffix in (".py", ".typed")
    }
    held = {name for name in wheel.namelist() if name.endswith((".py", ".typed"))}
    assert held == tree


def test_the_wheel_says_what_it_needs_but_not_where_it_was_built(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    metadata = wheel.read(name).decode()
    assert "License-Expression: Apache-2.0" in metadata
    for extra in PROJECT["optional-dependencies"]:
        assert f"Provides-Extra: {extra}" in metadata
    assert str(ROOT) not in metadata


def test_the_wheel_says_which_revision_it_was_built_from_if_git_knows(wheel):
    name = "tunewatch/revision.txt"
    if not (ROOT / ".git").exists():
        assert name not in wheel.namelist()
        return
    git = ("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    known = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", known.stdout.strip())
    assert wheel.read(name).decode() == known.stdout


def test_what_is_built_says_its_revision_in_the_metrics(wheel, tmp_path):
    wheel.extractall(tmp_path)
    tell = (
        "from prometheus_client import generate_latest as text; "
        "from tunewatch.telemetry import Telemetry; "
        "print(text(Telemetry(version='1').registry).decode())"
    )
    path = os.pathsep.join((str(tmp_path), *sys.path))
    told = subprocess.run(
        [sys.executable, "-c", tell],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    [label] = re.findall(r'build_info{.*revision="([^"]*)".*} 1', told.stdout)
    kept = tmp_path / "tunewatch" / "revision.txt"
    assert label == (kept.read_text().strip() if kept.exists() else "")


def test_the_installed_entry_points_are_those_of_the_project():
    installed = {
        (entry.group, entry.name, entry.value)
        for entry in distribution("tunewatch").entry_points
    }
    scripts = {("console_scripts", *script) for script in PROJECT["scripts"].items()}
    declared = {
        (group, *entry)
        for group, entries in GROUPS.items()
        for entry in entries.items()
    }
    assert installed == declared | scripts


def test_every_entry_point_loads_what_its_group_is_for():
    wanted = {"tunewatch.plugins": Plugin, "tunewatch.sources": SourceKind}
    assert GROUPS.keys() == wanted.keys()
    entries = distribution("tunewatch").entry_points
    for group, kind in wanted.items():
        for name in GROUPS[group]:
            (entry,) = entries.select(group=group, name=name)
            assert isinstance(entry.load(), kind), name
    (script,) = entries.select(group="console_scripts")
    assert callable(script.load())


def test_the_locks_are_hashed_and_name_no_place():
    for lock in ("run.txt", "dev.txt"):
        text = (ROOT / "requirements" / lock).read_text()
        pins = [line for line in text.splitlines() if line and line[0].isalnum()]
        assert pins
        for pin in pins:
            assert "==" in pin, pin
            assert pin.endswith("\\"), f"no hash: {pin}"
        for place in ("://", "index-url", "find-links", "file:", " /"):
            assert place not in text


def test_the_locks_hold_all_that_the_project_needs():
    locked = (ROOT / "requirements" / "run.txt").read_text()
    extras = PROJECT["optional-dependencies"]
    shipped = [one for name in ("postgres", "speed", "ed25519") for one in extras[name]]
    for wanted in (*PROJECT["dependencies"], *shipped):
        name = wanted.partition("[")[0].partition(">")[0]
        assert f"\n{name}==" in f"\n{locked}", wanted


def test_no_file_names_a_place_on_a_machine_or_a_registry(tmp_path):
    check = ROOT / ".ci" / "no-addresses"
    assert subprocess.run([check], check=False, capture_output=True).returncode == 0
    inside = tmp_path / "tree" / ".ci"
    inside.mkdir(parents=True)
    copy = Path(inside / "no-addresses")
    copy.write_text(check.read_text())
    (tmp_path / "tree" / "notes.md").write_text("see /hom" + "e/someone/notes\n")
    found = subprocess.run(
        ["bash", copy], check=False, capture_output=True, text=True, timeout=30
    )
    assert found.returncode == 1
    assert "notes.md:1:" in found.stdout
