"""Reads the client's own files: what an offline run of a job holds already.

The client of this version ships no reader. A file begins with a header of 7 bytes; then
come blocks of 32 KiB as in LevelDB's log, with records whole or in parts. A torn end is
the end. Knows the client's messages only when one is asked for.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

HEARD = "tunewatch/message"
"""In the summary: the sequence of the last message in the log."""
_MAGIC = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
_BLOCK = 32 * 1024
_HEAD = struct.Struct("<IHB")  # checksum, length, type
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


class Reached(NamedTuple):
    """How far a run got."""

    step: int = -1  #: W&B's highest step: the ordinal of the last point
    heard: int = 0  #: the sequence of the last message in its log


def reached(directory: Path, run_id: str) -> Reached:
    """Return how far the offline files of a run go."""
    step, heard = Reached()
    for path in files_of(directory, run_id):
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "history":
                step = max(step, _value(record.history.item, "_step", step))
            elif kind == "summary":
                heard = max(heard, _value(record.summary.update, HEARD, heard))
    return Reached(step, heard)


def _value(items: Iterable[Any], key: str, otherwise: int) -> int:
    for item in items:
        if item.key == key or list(item.nested_key) == [key]:
            return msgspec.json.decode(item.value_json, type=int)
    return otherwise


def is_ended(path: Path) -> bool:
    """Whether a file is whole: its run's end is the last that is written."""
    return any(one.WhichOneof("record_type") == "exit" for one in records(path))


def files_of(directory: Path, run_id: str) -> list[Path]:
    """Return the files of a run's offline parts, oldest first."""
    found = directory.glob(f"wandb/offline-run-*/run-{run_id}.wandb")
    # By when they were written last: several may have begun within one second.
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a file, up to where it is torn."""
    from wandb.proto import wandb_internal_pb2 as messages

    for raw in _raw(path.read_bytes()):
        record = messages.Record()  # type: ignore[attr-defined]
        record.ParseFromString(raw)
        yield record


def _raw(whole: bytes) -> Iterator[bytes]:
    if not whole.startswith(_MAGIC):
        return
    at, parts = len(_MAGIC), b""
    while at + _HEAD.size <= len(whole):
        room = _BLOCK - at % _BLOCK
        if room < _HEAD.size:  # too little for a head: filled with zeros
            at += room
            continue
        checksum, length, kind = _HEAD.unpack_from(whole, at)
        body = whole[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) < length or zlib.crc32(bytes([kind]) + body) != checksum:
            return
        at += _HEAD.size + length
        parts = body if kind in (_FULL, _FIRST) else parts + body
        if kind in (_FULL, _LAST):
            yield parts
