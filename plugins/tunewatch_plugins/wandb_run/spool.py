"""What W&B may not have yet, on this machine's disk: a small file for each open run.

Metric points need none: the store has them. It holds that a run is open, so that it is
brought up to date after a kill, and the API's messages, which the store keeps only as
events. A cache: if it is lost, what is lost is a few lines of a log.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from tunewatch_plugins.wandb_run.news import Key, Line


class _Head(Struct):
    source: str
    job: str


_lines = msgspec.json.Decoder(Line)
_heads = msgspec.json.Decoder(_Head)


class Spool:
    """One file for each run that may lack something. Blocking."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self, key: Key) -> None:
        """Note that the run of a job is open. Raises OSError."""
        path = self._path(key)
        if not path.exists():
            self._append(path, _Head(*key))

    def keep(self, key: Key, line: Line) -> None:
        """Keep a line until the run is finished. Raises OSError."""
        self.begin(key)
        self._append(self._path(key), line)

    def kept(self, key: Key) -> list[Line]:
        """Return the lines kept for a run, oldest first, each once."""
        found = {line.sequence: line for line in _read(self._path(key))}
        return [found[sequence] for sequence in sorted(found)]

    def drop(self, key: Key) -> None:
        """Forget a run: W&B has all of it."""
        self._path(key).unlink(missing_ok=True)

    def left(self) -> Iterator[Key]:
        """Yield the runs that may lack something."""
        for path in sorted(self._directory.glob("*.jsonl")):
            try:
                first = path.read_bytes().partition(b"\n")[0]
                head = _heads.decode(first)
            except (OSError, msgspec.DecodeError):
                continue
            yield head.source, head.job

    def _path(self, key: Key) -> Path:
        named = hashlib.blake2b(msgspec.json.encode(key), digest_size=16).hexdigest()
        return self._directory / f"{named}.jsonl"

    def _append(self, path: Path, what: Struct) -> None:
        with path.open("ab") as file:
            file.write(msgspec.json.encode(what) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _read(path: Path) -> Iterator[Line]:
    try:
        whole = path.read_bytes()
    except OSError:
        return
    for raw in whole.split(b"\n")[1:]:
        try:
            yield _lines.decode(raw)
        except msgspec.DecodeError:
            continue  # the end of a file that a kill cut off
