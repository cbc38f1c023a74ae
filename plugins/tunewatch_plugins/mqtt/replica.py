"""The name of this replica: the same after a restart, never that of another process.

Two daemons on one machine may share the directory in which a plugin keeps its cache, so
a name is held by a lock on its file for as long as it is used. Knows no broker.
"""

from __future__ import annotations

import fcntl
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_MOST = 64  #: processes that share one directory, after which a name is thrown away
_SIZE = 8


@contextmanager
def replica(directory: Path) -> Iterator[str]:
    """Hold a name: this machine's, and some characters that tell its daemons apart.

    Where the directory cannot be written the name is another one after each start.
    """
    host = socket.gethostname() or "localhost"
    file = _first_free(directory)
    if file is None:
        yield f"{host}-{secrets.token_hex(_SIZE // 2)}"
        return
    with file:
        yield f"{host}-{_kept(file)}"


def _first_free(directory: Path) -> IO[str] | None:
    for number in range(1, _MOST + 1):
        try:
            file = (directory / f"replica-{number}").open("a+", encoding="utf-8")
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if not isinstance(error, BlockingIOError):
                return None  # a file system without locks
        else:
            return file
    return None


def _kept(file: IO[str]) -> str:
    file.seek(0)
    kept = file.read(_SIZE)
    if len(kept) < _SIZE or not kept.isalnum():
        kept = secrets.token_hex(_SIZE // 2)
        with suppress(OSError):  # a full disk costs the name its next start
            file.seek(0)
            file.truncate()
            file.write(kept)
            file.flush()
    return kept
