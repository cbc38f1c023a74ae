"""A real systemd as the first process of its own namespaces, and commands in it.

Needs root, or sudo that asks for no password. Nothing outside is changed: what is
written goes into an overlay in memory, and the network is a loopback of its own.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("boot_systemd.sh")
BOOTING = 30.0
"""s."""
_AS_ROOT = () if os.geteuid() == 0 else ("sudo", "-n")


@dataclass(slots=True)
class Booted:
    """A machine that was booted: `pid` is its first process as we see it."""

    pid: int

    def run(
        self, command: str, *, fails: bool = False, within: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell in it, which must succeed unless it may fail."""
        done = subprocess.run(
            [*self._enter("--all"), "/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=within,
        )
        assert fails or done.returncode == 0, (
            command,
            done.stdout,
            done.stderr,
            self.journal(),
        )
        return done

    def journal(self) -> str:
        """Return the end of what everything in it said."""
        read = [*self._enter("--all"), "journalctl", "--no-pager", "--lines=30"]
        return subprocess.run(read, capture_output=True, text=True, check=False).stdout

    def out(self, command: str) -> str:
        """Return what a line of shell says."""
        return self.run(command).stdout.strip()

    def write(self, path: str, text: str) -> None:
        """Write a file in it."""
        quoted = shlex.quote(path)
        self.run(
            f"mkdir -p $(dirname {quoted}); printf %s {shlex.quote(text)} >{quoted}"
        )

    def beside(self, *command: str) -> list[str]:
        """Return how a program of ours is started on its network."""
        return [*self._enter("--net"), *command]

    def show(self, unit: str, key: str) -> str:
        """Return a property of a unit."""
        return self.out(f"systemctl show --value --property={key} {unit}")

    def eventually(
        self, condition: Callable[[], object], what: str, *, within: float = 20.0
    ) -> None:
        """Wait until something holds."""
        until = time.monotonic() + within
        while not condition():
            assert time.monotonic() < until, f"not within {within:g} s: {what}"
            time.sleep(0.05)

    def _enter(self, *namespaces: str) -> list[str]:
        return [*_AS_ROOT, "nsenter", "--target", str(self.pid), *namespaces, "--"]


@contextmanager
def booted_systemd(place: Path, seen: Mapping[Path, str]) -> Iterator[Booted]:
    """Boot; `seen` are folders of ours and where they are seen in it, read-only."""
    place.mkdir(parents=True)
    folders = [str(part) for pair in seen.items() for part in pair]
    log = place.with_suffix(".log")
    with log.open("wb") as said:
        outer = subprocess.Popen(
            [*_AS_ROOT, "bash", str(SCRIPT), str(place), *folders],
            stdout=said,
            stderr=said,
        )
    try:
        booted = Booted(_first_process(outer, log))
        booted.eventually(
            lambda: _is_up(booted), f"it is booted: {log}", within=BOOTING
        )
        yield booted
    finally:
        # The first process of the namespace: with it all others end.
        for child in _children(outer.pid):
            subprocess.run([*_AS_ROOT, "kill", "-KILL", str(child)], check=False)
        with suppress(PermissionError):  # sudo's, which ends by itself
            outer.kill()
        outer.wait()
        _sweep(place.with_name(f"{place.name}.cgroup"))


def _sweep(note: Path) -> None:
    """Take away the cgroups that are left, once the last process has ended."""
    if not note.exists():
        return
    group = note.read_text().strip()
    sweep = f"find {shlex.quote(group)} -depth -type d -exec rmdir {{}} +"
    until = time.monotonic() + BOOTING
    while Path(group).exists() and time.monotonic() < until:
        subprocess.run([*_AS_ROOT, "sh", "-c", sweep], capture_output=True, check=False)
        time.sleep(0.05)


def _is_up(booted: Booted) -> bool:
    done = booted.run("systemctl is-system-running", fails=True)
    return done.stdout.strip() in {"running", "degraded"}


def _first_process(outer: subprocess.Popen[bytes], log: Path) -> int:
    until = time.monotonic() + BOOTING
    while time.monotonic() < until:
        assert outer.poll() is None, log.read_text()
        for child in _children(outer.pid):
            if _said(f"/proc/{child}/comm") == "systemd":
                return child
        time.sleep(0.02)
    raise AssertionError(f"no systemd: {log.read_text()}")


def _children(pid: int) -> list[int]:
    """Return the processes below one that are the first of their namespace."""
    found: list[int] = []
    for child in _said(f"/proc/{pid}/task/{pid}/children").split():
        found += [int(child), *_children(int(child))]
    return found


def _said(path: str) -> str:
    """Return what is said of a process, nothing if it has ended meanwhile."""
    try:
        return Path(path).read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
