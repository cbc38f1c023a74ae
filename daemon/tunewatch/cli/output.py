"""Data on stdout: tables that stay whole in a pipe, JSON, YAML.

Nothing is cut off and nothing is drawn around it. What comes from outside cannot steer
the terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

Cell = str | int | float | None
GAP = "  "


def print_data(data: Any, form: str) -> None:
    """Print data as JSON or YAML."""
    plain = msgspec.to_builtins(data)
    if form == "yaml":
        from msgspec import yaml

        click.echo(yaml.encode(plain).decode(), nl=False)
    else:
        click.echo(msgspec.json.format(msgspec.json.encode(plain), indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print rows under a header, each column as wide as it needs to be."""
    cells = [[text_of(cell) for cell in row] for row in rows]
    heads = [column.upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    click.echo(_bold(_line(heads, widths)))
    for row in cells:
        click.echo(_line(row, widths))


def print_facts(facts: Mapping[str, Cell]) -> None:
    """Print names and values below each other; what is not known is left out."""
    said = {name: text_of(value) for name, value in facts.items() if value is not None}
    width = max(map(len, said), default=0)
    for name, value in said.items():
        click.echo(f"{name.ljust(width)}{GAP}{value}")


def text_of(cell: Cell) -> str:
    """Return what stands in a cell, without anything that could steer a terminal."""
    if cell is None:
        return "-"
    text = f"{cell:.6g}" if isinstance(cell, float) else str(cell)
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def moment(seconds: float | None) -> str | None:
    """Return unix seconds as a moment in UTC, to the second."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return GAP.join(padded).rstrip()


def _bold(text: str) -> str:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        return click.style(text, bold=True)
    return text
