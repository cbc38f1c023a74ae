"""Installed packages as directories: real metadata, nothing installed for good."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import EntryPoints, distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests/samples"
"""Packages as strangers would write them, each whole with its pyproject.toml."""


def write_package(
    directory: Path,
    name: str,
    entry_points: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str] | None = None,
) -> Path:
    """Write a package with its metadata into a directory of its own and return it."""
    site = directory / name
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0")
    lines: list[str] = []
    for group, entries in entry_points.items():
        lines += [f"[{group}]", *(f"{key} = {to}" for key, to in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for module, text in (modules or {}).items():
        (site / f"{module}.py").write_text(text)
    return site


def install_sample(directory: Path, name: str) -> Path:
    """Let pip build and install a sample into a directory of its own; return that.

    It asks no index for anything.
    """
    source = shutil.copytree(SAMPLES / name, directory / "source" / name)
    site = directory / "installed" / name
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--no-index", "--no-build-isolation", "--target", str(site)),
            str(source),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return site


def entry_points_in(*sites: Path) -> EntryPoints:
    """Return the entry points of the packages in these directories only."""
    found = distributions(path=[str(site) for site in sites])
    return EntryPoints([entry for one in found for entry in one.entry_points])


def tunewatch_site(directory: Path) -> Path:
    """Write tunewatch's own metadata, from pyproject.toml, and return its directory.

    With it on the path, the source tree works as if it were installed.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return write_package(directory, "tunewatch", project["entry-points"])


def python_path(*sites: Path) -> str:
    """Return a PYTHONPATH with the source tree behind these directories."""
    roots = (*sites, ROOT / "daemon", ROOT / "plugins")
    return ":".join(str(root) for root in roots)
