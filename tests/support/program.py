"""The real program as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from support.distribution import python_path, tunewatch_site


@dataclass(slots=True)
class Ended:
    """What a process left."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Program:
    """`python -m tunewatch`, in a directory and an environment of its own."""

    directory: Path
    environ: dict[str, str] = field(default_factory=dict)
    sites: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        site = tunewatch_site(self.directory / "site")
        (self.directory / "home").mkdir(exist_ok=True)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory / "home"),
            "PYTHONPATH": python_path(site, *self.sites),
            **self.environ,
        }

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "tunewatch", *arguments]

    def __call__(self, *arguments: str, **environ: str) -> Ended:
        """Run it to its end."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Ended(done.returncode, done.stdout, done.stderr)
