"""The real program as a process of its own: to its end, or until somebody ends it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from support.distribution import ROOT, python_path, tunewatch_site
from support.warm_start import Start, WarmProcess, warm_process

LONGEST = 60.0
"""s that a command may take."""


RunningProcess = asyncio.subprocess.Process | WarmProcess


@dataclass(slots=True)
class Ended:
    """What a process left."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Program:
    """`python -m tunewatch`, in a directory and an environment of its own.

    It starts warm (see `warm_start`) unless what it imports is the point: if it has
    packages of its own, is told of Python by its environment, or is to be cold.
    """

    directory: Path
    environ: dict[str, str] = field(default_factory=dict)
    sites: tuple[Path, ...] = ()
    is_cold: bool = False
    module: str = "tunewatch"  #: what is run, if it is cold
    entry: tuple[str, ...] = ()  #: words before the command line, if it is cold

    def __post_init__(self) -> None:
        site = tunewatch_site(self.directory / "site")
        (self.directory / "home").mkdir(exist_ok=True)
        self.is_cold = self.is_cold or bool(self.sites)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory / "home"),
            "PYTHONPATH": python_path(site, *self.sites),
            **self.environ,
        }

    def launch_by(self, module: str) -> None:
        """Let it be started, cold, by a module of ours that wraps it from outside."""
        self.module, self.is_cold = module, True
        self.environ["PYTHONPATH"] += f":{python_path(ROOT / 'tests')}"

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return [*self.entry, sys.executable, "-m", self.module, *arguments]

    def __call__(self, *arguments: str, **environ: str) -> Ended:
        """Run it to its end."""
        if self.is_cold or any(name.startswith("PYTHON") for name in environ):
            return self._cold(*arguments, **environ)
        with tempfile.TemporaryDirectory() as told:
            out, err = Path(told, "out"), Path(told, "err")
            process = self._warm(arguments, environ, out, err)
            code = process.join(LONGEST)
            if code is None:
                process.kill()
                raise TimeoutError(f"{arguments} took longer than {LONGEST} s")
            return Ended(code, out.read_text(), err.read_text())

    async def spawn(
        self, *arguments: str, said: Path, **environ: str
    ) -> RunningProcess:
        """Start it and do not wait for it; what it says is added to a file."""
        # Opened here, so that it is there for whoever reads it at once.
        with said.open("ab") as log:
            if not self.is_cold:
                return self._warm(arguments, environ, said, said)
            return await asyncio.create_subprocess_exec(
                *self.command(*arguments),
                cwd=self.directory,
                env={**self.environ, **environ},
                stdout=log,
                stderr=log,
            )

    def _warm(
        self, arguments: tuple[str, ...], environ: dict[str, str], out: Path, err: Path
    ) -> WarmProcess:
        env = {**self.environ, **environ}
        return warm_process(Start(arguments, self.directory, env, out, err))

    def _cold(self, *arguments: str, **environ: str) -> Ended:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        return Ended(done.returncode, done.stdout, done.stderr)
