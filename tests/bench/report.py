"""Figures of the benchmarks as one table, on the terminal and in the README."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
NOISE = (
    "Medians of several rounds; whatever a ratio compares was measured in the same run,"
    " turn by turn."
)


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    figure: str
    bar: str = ""
    ratio: str = ""
    ok: bool | None = None  #: None: nothing is asked of it

    @property
    def verdict(self) -> str:
        return {True: "ok", False: "MISSED", None: ""}[self.ok]


HEAD = Figure("what", "figure", "bar", "ratio")


def at_most(
    what: str, value: float, limit: float, unit: str, *, ratio: str = "", digits: int
) -> Figure:
    """Return the line of something that must not grow beyond a limit."""
    shown, bar = f"{value:,.{digits}f} {unit}", f"<= {limit:,g} {unit}"
    return Figure(what, shown.strip(), bar.strip(), ratio, value <= limit)


def at_least(
    what: str, value: float, limit: float, unit: str, *, ratio: str = "", digits: int
) -> Figure:
    """Return the line of something that must not fall below a limit."""
    shown, bar = f"{value:,.{digits}f} {unit}", f">= {limit:,g} {unit}"
    return Figure(what, shown.strip(), bar.strip(), ratio, value >= limit)


def as_text(figures: Sequence[Figure]) -> str:
    """Return the table for a terminal."""
    rows = [(*line[:4], line.verdict) for line in (HEAD, *figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for what, *rest in rows:
        cells = [text.rjust(w) for text, w in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([what.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def as_markdown(figures: Sequence[Figure], about: str) -> str:
    """Return the table as the README keeps it, with what it was measured on."""
    lines = ["| what | figure | bar | ratio | |", "|---|--:|--:|--:|---|"]
    for line in figures:
        bar = line.bar.replace("<=", "≤").replace(">=", "≥")
        lines.append(
            f"| {line.what} | {line.figure} | {bar} | {line.ratio} | {line.verdict} |"
        )
    return "\n".join([*lines, "", about])


def machine(minutes: float) -> str:
    """Return what the figures depend on, in a sentence or three."""
    load = os.getloadavg()[1]
    return (
        f"`make bench`, {minutes:.1f} min on {os.cpu_count()} cores that others use too"
        f" (load {load:.1f} at the end). {NOISE}"
    )


def write_readme(readme: Path, table: str) -> None:
    """Put the table between its markers. Raises ValueError if they are not there."""
    text = readme.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"{readme.name}: wanted the lines {BEGIN} and {END}, in this order; the"
            " table goes between them"
        )
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
