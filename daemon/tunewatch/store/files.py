"""The SQLite file before SQLite touches it: whose it is, and whether it is sound.

A damaged file is refused and left as it is, never replaced by an empty one. Knows the
file format's header and nothing of tables.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from tunewatch.store.faults import damaged, translated
from tunewatch.store.records import StoreBroken, StoreInUse, StoreUnusable

_MAGIC = b"SQLite format 3\x00"
_HEADER = 100
_FULLY_CHECKED = 64 * 2**20
"""Bytes up to which every page is read at a start: about 0.2 s."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Own the file until the block ends; make it if there is none.

    The lock lies beside the file, so that no tool that opens the database can drop it,
    and ends with the process however that ends. Raises StoreInUse, StoreUnusable,
    StoreBroken.
    """
    try:
        made = [one for one in (path.parent, *path.parent.parents) if not one.exists()]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _refused(path, error) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _in_use(path, descriptor) from None
        _sign(descriptor, f"{os.getpid()}\n")
        for directory in made:
            keep_names(directory.parent)
        _make(path)
        examine(path)
        yield
        _sign(descriptor, "")
    finally:
        os.close(descriptor)


def _sign(descriptor: int, whose: str) -> None:
    """Say whose the lock is, for people: on a full or failing disk it does without."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, whose.encode(), 0)


def holder(path: Path) -> int | None:
    """Return the process that owns the file, as far as can be told without a lock.

    A lock, be it shared and for a moment, would make a daemon fail that starts just
    then. So one that was killed counts as the owner while another has its number.
    """
    try:
        process = int(Path(f"{path}.lock").read_text())
    except (OSError, ValueError):
        return None
    try:
        os.kill(process, 0)
    except PermissionError:
        return process  # of another user
    except (OSError, OverflowError):
        return None
    return process


def _in_use(path: Path, descriptor: int) -> StoreInUse:
    holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return StoreInUse(
        f"{path} is in use by process {holder or 'unknown'}: stop that one first, or "
        f"give this one a file of its own (daemon.state)"
    )


def _refused(path: Path, error: OSError) -> StoreUnusable:
    return StoreUnusable(
        f"cannot open {path}: {error.strerror}. Check the path in daemon.state and the "
        f"rights of user {os.geteuid()}"
    )


def _make(path: Path) -> None:
    """Make an empty file, readable by us alone, whose name survives a power loss."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise _refused(path, error) from None
    os.close(descriptor)
    keep_names(path.parent)


def keep_names(directory: Path) -> None:
    """Let the names in a directory survive a power loss. Raises StoreBroken."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return  # of somebody else, and not for us to read
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot do that for a directory, and need not.
        if error.errno == errno.EIO:
            raise StoreBroken(f"the disk failed under {directory} (fsync)") from None
    finally:
        os.close(descriptor)


def examine(path: Path) -> None:
    """Raise StoreUnusable if the file cannot be what we wrote. Changes nothing."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError as error:
        raise _refused(path, error) from None
    log = Path(f"{path}-wal")
    logged = log.stat().st_size if log.exists() else 0
    if not size:
        if logged:
            raise damaged(str(path), "empty, with a write-ahead log beside it")
        return
    if not header.startswith(_MAGIC):
        raise damaged(str(path), "not an SQLite database")
    if len(header) < _HEADER or size + logged < _promised(header):
        raise damaged(str(path), f"cut off at {size} bytes")
    _look_inside(path, fully=size <= _FULLY_CHECKED)


def _promised(header: bytes) -> int:
    """Return how many bytes the header says there are, at least one page."""
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    # The count is valid only if its version is that of the last change.
    is_valid = header[24:28] == header[92:96]
    return page * max(1, int.from_bytes(header[28:32], "big") if is_valid else 1)


def _look_inside(path: Path, *, fully: bool) -> None:
    fault: Exception | None = None
    try:
        with closing(to_read(path)) as connection:
            if fully:
                look_over(connection, str(path))
            else:
                connection.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        fault = translated(error, str(path))
    if fault is not None:
        raise fault


def to_read(path: Path, *, timeout: float = 3.0) -> sqlite3.Connection:
    """Return a connection that cannot write; it waits for locks for `timeout` s."""
    address = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=timeout)


def look_over(connection: sqlite3.Connection, where: str) -> None:
    """Read every page. Raises StoreUnusable, which names `where`, if one is unsound."""
    if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
        raise damaged(where, "its pages contradict each other")
