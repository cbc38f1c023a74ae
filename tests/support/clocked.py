"""The real program, by a wall clock that somebody sets while it runs.

Run as `python -m support.clocked run …`: `time.time` is off by what the file that
`$CLOCK_OFF_BY` names says. The monotonic clock is the machine's, as it is where a
person or NTP sets the other. What is tried knows nothing of it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from support.program import Program

OFF_BY = "CLOCK_OFF_BY"
HEEDED = 0.2
"""s within which a process goes by what was set."""


@dataclass(slots=True)
class SetClock:
    """By how much the clock of one program is off."""

    file: Path

    def lend(self, program: Program) -> None:
        """Let a program go by it from its next start on."""
        self.set(0.0)
        program.launch_by("support.clocked")
        program.environ[OFF_BY] = str(self.file)

    def set(self, off_by: float) -> None:
        """Set it so many seconds before or after the machine's."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{off_by}")
        new.rename(self.file)

    @asynccontextmanager
    async def drifting(self, rate: float) -> AsyncIterator[None]:
        """Let it gain so many seconds in each until the block ends."""

        async def drift() -> None:
            began = time.monotonic()
            while True:
                self.set(rate * (time.monotonic() - began))
                await asyncio.sleep(HEEDED)

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(drift(), name="drift")
            yield
            task.cancel()


def by(file: Path) -> Callable[[], float]:
    """Return a wall clock that is off by what a file says."""
    real, looked, off_by = time.time, float("-inf"), 0.0

    def now() -> float:
        nonlocal looked, off_by
        if time.monotonic() - looked > HEEDED:
            off_by, looked = float(file.read_text()), time.monotonic()
        return real() + off_by

    return now


def main() -> None:
    """Be the program."""
    time.time = by(Path(os.environ[OFF_BY]))
    from tunewatch.cli.main import main as tunewatch

    tunewatch()


if __name__ == "__main__":
    main()
