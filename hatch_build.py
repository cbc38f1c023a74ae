"""Writes into what is built which revision it was built from, if that is known.

Known is what git says of the tree that is built; what was built before keeps its word.
An editable install runs whatever the tree holds at the time, so it says nothing.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "tunewatch/revision.txt"
DESCRIBE = ("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


class RevisionHook(BuildHookInterface[Any]):
    """Adds `tunewatch/revision.txt`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file, unless nobody knows or it could become untrue."""
        root = Path(self.root)
        # Only what is this tree's own: it may lie in the tree of something else.
        said = _described(root) if (root / ".git").exists() else ""
        if version == "editable" or not said:
            return
        self._directory = tempfile.TemporaryDirectory()
        file = Path(self._directory.name) / "revision.txt"
        file.write_text(f"{said}\n")
        inside = "daemon/" if self.target_name == "sdist" else ""
        build_data["force_include"][str(file)] = inside + NAME


def _described(root: Path) -> str:
    """Return git's name for a tree, empty if there is none."""
    try:
        done = subprocess.run(  # noqa: S603 - nothing of it comes from outside
            DESCRIBE, cwd=root, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
