"""Both engines, for benchmarks: a fresh store on each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from support.databases import postgres_server

ENGINES = ("SQLite", "PostgreSQL")
FreshUrl = Callable[[str], str]


@contextmanager
def engines() -> Iterator[FreshUrl]:
    """Lend what returns the address of a new store on the engine named.

    SQLite files lie where the machine keeps temporary files, and are synced there; the
    PostgreSQL is started here, syncs too, and is removed at the end.
    """
    numbers = count()
    with tempfile.TemporaryDirectory() as directory, postgres_server() as server:

        def fresh(engine: str) -> str:
            if engine == "SQLite":
                return f"sqlite:///{Path(directory) / f'{next(numbers)}.db'}"
            return server.create()

        yield fresh
