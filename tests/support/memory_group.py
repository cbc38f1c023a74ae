"""A control group that lets its processes have so much memory and no more.

The kernel ends whoever needs more; what it keeps of files counts too, but is given up
first. It takes the right to make one, which is root's as a rule.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_ENTER = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
_PATIENCE = 5.0
"""s for the last process to be gone."""


@dataclass(slots=True, frozen=True)
class MemoryGroup:
    """One of them, of the first or of the second version."""

    path: Path
    is_first: bool

    @property
    def entry(self) -> tuple[str, ...]:
        """The words before a command that let it run in there from its beginning."""
        return ("sh", "-c", _ENTER, str(self.path))

    @property
    def held(self) -> int:
        """The bytes that its processes hold now and could not be made to give up."""
        return self._numbers("memory.stat")["rss" if self.is_first else "anon"]

    @property
    def kills(self) -> int:
        """How often the kernel ended a process for want of memory."""
        counted = "memory.oom_control" if self.is_first else "memory.events"
        return self._numbers(counted)["oom_kill"]

    def _numbers(self, file: str) -> dict[str, int]:
        lines = (self.path / file).read_text().splitlines()
        return {name: int(value) for name, value in (line.split() for line in lines)}


@contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup]:
    """Make one of so many bytes, without any swap, until the block ends."""
    made = _first() or _second()
    made.path.mkdir()
    try:
        if made.is_first:
            (made.path / "memory.limit_in_bytes").write_text(str(limit))
            (made.path / "memory.swappiness").write_text("0")
        else:
            (made.path / "memory.max").write_text(str(limit))
            (made.path / "memory.swap.max").write_text("0")
        yield made
    finally:
        _remove(made.path)


def _first() -> MemoryGroup | None:
    """Return a group below our own, whose limits hold on."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, ours = line.split(":", 2)
        if "memory" in controllers.split(","):
            return MemoryGroup(_ROOT / "memory" / ours[1:] / _name(), is_first=True)
    return None


def _second() -> MemoryGroup:
    """Return a group below the root: one with processes of its own can have none."""
    controllers = _ROOT / "cgroup.controllers"
    assert controllers.exists(), "there are no control groups for memory here"
    assert "memory" in controllers.read_text().split()
    (_ROOT / "cgroup.subtree_control").write_text("+memory")
    return MemoryGroup(_ROOT / _name(), is_first=False)


def _name() -> str:
    return f"tunewatch-test-{os.getpid()}"


def _remove(path: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while (path / "cgroup.procs").read_text() and time.monotonic() < end:
        time.sleep(0.05)
    path.rmdir()
