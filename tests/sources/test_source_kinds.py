from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints, distributions
from pathlib import Path

import pytest

from tunewatch.sources import GROUP, KindFault, load
from tunewatch.sources.openai import SOURCE

ROOT = Path(__file__).parents[2]
OURS = "openai = tunewatch.sources.openai:SOURCE"


def package(where: Path, name: str, *entries: str) -> None:
    """Write what an installed package of that name leaves of its entry points."""
    info = where / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *entries, ""]))


def installed(*where: Path) -> EntryPoints:
    """Return the entry points of the packages in these places."""
    found: list[EntryPoint] = []
    for dist in distributions(path=[str(each) for each in where]):
        found += dist.entry_points
    return EntryPoints(found)


def test_a_kind_is_loaded_by_its_name(tmp_path: Path) -> None:
    package(tmp_path, "tunewatch", OURS, "broken = no_such_package:SOURCE")
    assert load("openai", installed=installed(tmp_path)) is SOURCE


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("opnai", "installed: acme, openai; did you mean openai?"),
        ("x", "installed: acme, openai"),
    ],
)
def test_an_unknown_kind_is_told_with_what_was_meant_or_is_installed(
    tmp_path: Path, asked: str, told: str
) -> None:
    package(tmp_path, "tunewatch", OURS)
    package(tmp_path, "acme", "acme = acme:SOURCE")
    with pytest.raises(KindFault) as raised:
        load(asked, installed=installed(tmp_path))
    assert raised.value.reason == f"no source kind called '{asked}'; {told}"


def test_a_kind_of_two_packages_is_refused_with_both_names(tmp_path: Path) -> None:
    package(tmp_path, "tunewatch", OURS)
    package(tmp_path, "acme", OURS)
    with pytest.raises(KindFault) as raised:
        load("openai", installed=installed(tmp_path))
    assert raised.value.reason == (
        "source kind 'openai' is provided by more than one package: acme, tunewatch"
    )


def test_one_package_seen_twice_is_no_conflict(tmp_path: Path) -> None:
    package(tmp_path / "tree", "tunewatch", OURS)
    package(tmp_path / "wheel", "tunewatch", OURS)
    twice = installed(tmp_path / "tree", tmp_path / "wheel")
    assert load("openai", installed=twice) is SOURCE


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (
            "no_such_package.deep:SOURCE",
            "source kind 'acme' needs a package that is not installed: no_such_package",
        ),
        (
            "tunewatch.model:SOURCE",
            "source kind 'acme' points at tunewatch.model:SOURCE, which does not exist",
        ),
        (
            "tunewatch.model:Job",
            (
                "source kind 'acme' points at tunewatch.model:Job, "
                "which is a StructMeta and not a SourceKind"
            ),
        ),
    ],
)
def test_a_kind_that_cannot_be_used_says_why(
    tmp_path: Path, target: str, reason: str
) -> None:
    package(tmp_path, "acme", f"acme = {target}")
    with pytest.raises(KindFault) as raised:
        load("acme", installed=installed(tmp_path))
    assert raised.value.reason == reason


def test_kinds_are_found_and_their_settings_checked_without_the_client(
    tmp_path: Path,
) -> None:
    package(tmp_path, "acme", "acme = tunewatch.sources.openai:SOURCE")
    program = (
        "import sys\n"
        "import tunewatch.sources.contract, tunewatch.sources.http\n"
        "from tunewatch.sources import load\n"
        "kind = load('acme')\n"
        "print(kind.settings().base_url)\n"
        "heavy = {'openai', 'httpx2', 'aiohttp'} & set(sys.modules)\n"
        "print(sorted(heavy))\n"
    )
    paths = [str(tmp_path), str(ROOT / "daemon")]
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert said == "https://api.openai.com/v1\n[]\n"
