"""Result files: CSV at Azure, base64 of the same at OpenAI, both with surprises.

Pure: takes bytes, gives points. What cannot be read is counted, never guessed.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from tunewatch.model import MetricPoint, finite
from tunewatch.sources.contract import Unreadable
from tunewatch.sources.openai.metrics import gathered, step_of

_BOM = b"\xef\xbb\xbf"


class ResultFile(NamedTuple):
    """The points of a result file by step, and how many rows could not be read."""

    points: tuple[MetricPoint, ...]
    malformed: int


def read_result_file(body: bytes) -> ResultFile:
    """Return what a result file holds.

    Rows of one step become one point, where the first value of a metric stands. Raises
    Unreadable if it is no CSV with a step column, or if none of its rows can be read.
    """
    rows = csv.reader(io.StringIO(_table(body), newline=""))
    with suppress(csv.Error):
        header = [name.strip() for name in next(rows, [])]
        if "step" in header:
            return _points(header, rows)
    raise Unreadable("the result file is no CSV that can be read")


def _table(body: bytes) -> str:
    """Return the CSV's text, taken out of base64 if it is in it."""
    plain = body.removeprefix(_BOM).strip()
    if not _has_step_column(plain):
        plain = _unpacked(plain).removeprefix(_BOM).strip()
    if not _has_step_column(plain):
        raise Unreadable(
            "the result file is no CSV with a step column, nor base64 of one"
        )
    return plain.decode("utf-8", "replace")


def _unpacked(packed: bytes) -> bytes:
    """Return what base64 stands for, nothing if it is not strictly base64."""
    with suppress(binascii.Error):
        return base64.b64decode(b"".join(packed.split()), validate=True)
    return b""


def _has_step_column(table: bytes) -> bool:
    first_line = table[:65536].splitlines()[:1]
    names = b"".join(first_line).split(b",")
    return any(name.strip(b' "\t') == b"step" for name in names)


def _points(header: list[str], rows: Iterator[list[str]]) -> ResultFile:
    """Return the points of the rows below a header."""
    at = header.index("step")
    by_step: dict[int, dict[str, float]] = {}
    malformed = 0
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        step = step_of(_number(row[at])) if len(row) == len(header) else None
        if step is None:
            malformed += 1
            continue
        cells = zip(header, row, strict=True)
        by_step[step] = _values(cells) | by_step.get(step, {})
    if malformed and not by_step:
        raise Unreadable(f"none of the result file's {malformed} rows can be read")
    points = (MetricPoint(step=step, values=by_step[step]) for step in sorted(by_step))
    return ResultFile(tuple(points), malformed)


def _values(cells: Iterator[tuple[str, str]]) -> dict[str, float]:
    """Return the finite values of a row; a blank cell has none."""
    numbers = ((name, _number(cell)) for name, cell in cells if name and name != "step")
    return gathered((name, value) for name, value in numbers if value is not None)


def _number(cell: str) -> float | None:
    try:
        return finite(float(cell))
    except ValueError:
        return None
