"""A copy of an SQLite store that may be in use: whole, as of the moment it is begun.

Nothing but SQLite's own means: a daemon goes on writing meanwhile. Knows of tables only
how much there is in them. PostgreSQL has tools of its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from tunewatch.store import files
from tunewatch.store.faults import translated
from tunewatch.store.records import StoreFault, StoreUnavailable, StoreUnusable

PATIENCE = 10.0
"""s to wait for a lock that somebody has for a moment."""

_COUNT = "SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM event)"


class Backup(NamedTuple):
    """What was copied."""

    jobs: int
    events: int
    bytes: int


class CannotWrite(Exception):
    """The copy cannot be written where it was wanted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def back_up(path: Path, to: Path) -> Backup:
    """Copy a store into a new file, which only its owner can read.

    It has its name when it is whole, sound and on the disk. Raises CannotWrite if it
    cannot be written or there is something already, StoreUnusable if the store is no
    sound store of ours, and StoreUnavailable if it cannot be read now.
    """
    if not path.exists():
        raise StoreUnusable(f"there is no store at {path}: nothing is backed up")
    files.examine(path)
    if os.path.lexists(to):
        raise CannotWrite(f"{to} is there already, and is left as it is")
    with _begun(to) as part:
        _copied(path, part)
        found = _looked_over(path, part)
        _named(part, to)
    return found


@contextmanager
def _begun(to: Path) -> Iterator[Path]:
    """Lend an empty file beside the place where the copy goes; nothing of it stays."""
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise CannotWrite(f"cannot write to {to.parent}: {error.strerror}") from None
    try:
        yield part
    finally:
        for name in (part, f"{part}-wal", f"{part}-shm", f"{part}-journal"):
            Path(name).unlink(missing_ok=True)


def _copied(path: Path, part: Path) -> None:
    fault: StoreFault | CannotWrite | None = None
    try:
        with (
            closing(files.to_read(path, timeout=PATIENCE)) as source,
            closing(sqlite3.connect(part)) as copy,
        ):
            _check_place(copy, part)
            # In one step: in several it would begin anew after each write in between.
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # a single file
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            fault = CannotWrite(
                f"no room in {part.parent}: nothing is left of the copy"
            )
        else:
            fault = _fault(error, path)
    if fault is not None:
        raise fault


def _check_place(copy: sqlite3.Connection, part: Path) -> None:
    """Raise CannotWrite if SQLite, which follows links by itself, writes elsewhere."""
    [[_, _, name]] = copy.execute("PRAGMA database_list").fetchall()
    there = Path(name)
    if not (there.exists() and there.samefile(part)):
        raise CannotWrite(
            f"{part.parent} is a link that leads SQLite to {there.parent}: name the "
            "directory itself"
        )


def _looked_over(path: Path, part: Path) -> Backup:
    """Read every page of the copy. Raises StoreUnusable if they are not sound."""
    fault: StoreFault | None = None
    try:
        with closing(files.to_read(part)) as copy:
            files.look_over(copy, str(path))
            jobs, events = copy.execute(_COUNT).fetchone()
            return Backup(jobs, events, part.stat().st_size)
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            fault = _fault(error, path)
        else:
            fault = StoreUnusable(f"{path} is no store of tunewatch")
    except sqlite3.Error as error:
        fault = _fault(error, path)
    raise fault


def _named(part: Path, to: Path) -> None:
    """Give the copy its name, which survives a power loss from then on."""
    try:
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(to)
    except OSError as error:
        raise CannotWrite(f"cannot write {to}: {error.strerror}") from None
    files.keep_names(to.parent)


def _fault(error: sqlite3.Error, path: Path) -> StoreFault:
    known = translated(error, str(path))
    if isinstance(known, StoreFault):
        return known
    return StoreUnavailable(f"cannot read {path}: {type(error).__name__}")
