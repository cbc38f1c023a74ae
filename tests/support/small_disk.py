"""A file system of a few MiB that really is full: in memory, in a namespace of its own.

It ends with the process that holds it, so nothing is left however a test ends. Knows
nothing of what is kept on it.
"""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MOUNT = 'mount -t tmpfs -o "size=$1" tmpfs "$0" && echo mounted && exec cat'
"""Whoever holds it reads until we are gone."""


@dataclass(slots=True)
class SmallDisk:
    """One of them, mounted on a directory that is empty for everybody else."""

    under: Path
    holder: int  #: whose mounts have it

    @property
    def entry(self) -> list[str]:
        """The words before a command that let it run where the disk is mounted."""
        enter = ["nsenter", "--target", str(self.holder), "--mount"]
        if os.geteuid() == 0:
            return enter
        # Its root is us. PostgreSQL wants nobody to be root: we are ourselves again.
        ourselves = [f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}"]
        enter += ["--user", "--preserve-credentials"]
        return [*enter, "unshare", "--user", *ourselves]

    def seen_from_here(self) -> Path:
        """Return where everybody finds what is on it."""
        return Path(f"/proc/{self.holder}/root{self.under}")

    def fill(self) -> None:
        """Take all that is free."""
        with self._ballast().open("ab") as ballast:
            descriptor = ballast.fileno()
            while (free := _free(descriptor)) > 0:
                try:
                    end = os.fstat(descriptor).st_size
                    os.posix_fallocate(descriptor, end, free)
                except OSError as error:  # somebody else took some meanwhile
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Give it back."""
        self._ballast().unlink()

    def _ballast(self) -> Path:
        return self.seen_from_here() / "ballast"


def _free(descriptor: int) -> int:
    status = os.fstatvfs(descriptor)
    return status.f_bavail * status.f_frsize


@contextmanager
def small_disk(*, mebibytes: int) -> Iterator[SmallDisk]:
    """Mount one until the block ends."""
    rights = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    # Not with a test's files: others than us have to get there.
    with tempfile.TemporaryDirectory(prefix="tw-disk-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        command = ["unshare", *rights, "sh", "-c", _MOUNT, directory, f"{mebibytes}m"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"mounted\n", "it takes rights to mount"
            yield SmallDisk(Path(directory), holder.pid)
