"""Seeds that are printed, and the record of what every fault came to.

A long form that passes can keep its lines: $FAULTS_RECORD names the file that
`fault_table` makes the published table of.
"""

from __future__ import annotations

import json
import os
import platform
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

COLUMNS = (
    "fault",
    "engine",
    "runs",
    "seed",
    "lost",
    "repeated",
    "out of order",
    "recovered in",
    "seconds",
)
KEY = ("fault", "engine", "python")
"""What a line is about: a later run about the same takes its place."""


@pytest.fixture
def seed() -> int:
    """Return the seed of this run: FAULTS_SEED, or a new one each time."""
    given = os.environ.get("FAULTS_SEED")
    drawn = random.SystemRandom().randrange(2**31) if given is None else int(given)
    print(f"FAULTS_SEED={drawn}")  # noqa: T201 - pytest shows it when a test fails
    return drawn


def rounds(usual: int) -> int:
    """Return how often a long form does what it does: FAULTS_ROUNDS, or as usual."""
    return int(os.environ.get("FAULTS_ROUNDS", usual))


@pytest.fixture
def chance(seed: int) -> random.Random:
    """Return the draws of this run."""
    return random.Random(seed)


@pytest.fixture
def track_record(
    record_property: Callable[[str, object], None], seed: int
) -> Callable[..., None]:
    """Lend a way to enter a line into the record."""

    def enter(fault: str, **figures: object) -> None:
        # Underlined for Python, spaced for people.
        told = {name.replace("_", " "): value for name, value in figures.items()}
        line = {"fault": fault, "engine": "", "seed": seed, **told}
        record_property("fault", line)

    return enter


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the lines of this session: a fault, how often, and what it cost."""
    reports = [
        report
        for found in terminalreporter.stats.values()
        for report in found
        if getattr(report, "when", None) == "call"
    ]
    lines = [line for report in reports for line in _lines(report)]
    if not lines:
        return
    table = [COLUMNS] + [
        tuple(str(line.get(column, "")) for column in COLUMNS) for line in lines
    ]
    widths = [max(len(row[at]) for row in table) for at in range(len(COLUMNS))]
    terminalreporter.section("faults survived")
    for row in table:
        cells = zip(row, widths, strict=True)
        terminalreporter.line("  ".join(cell.ljust(width) for cell, width in cells))
    kept = os.environ.get("FAULTS_RECORD")
    if kept is not None:
        passed = [line for one in reports if one.passed for line in _lines(one)]
        keep(Path(kept), passed)


def _lines(report: Any) -> list[dict[str, object]]:
    return [value for name, value in report.user_properties if name == "fault"]


def keep(path: Path, lines: Iterable[dict[str, object]]) -> None:
    """Enter lines into the record in a file; of the same kind the last one stays."""
    record = json.loads(path.read_text()) if path.exists() else []
    day = time.strftime("%Y-%m-%d", time.gmtime())
    release, _, _ = platform.python_version().rpartition(".")
    fresh = [{**line, "python": release, "day": day} for line in lines]
    # The short form of the same session is no news beside the long one.
    fresh.sort(key=lambda line: int(str(line.get("runs", 0))))
    by_key = {tuple(line[name] for name in KEY): line for line in (*record, *fresh)}
    path.write_text(
        json.dumps([by_key[key] for key in sorted(by_key)], indent=1) + "\n"
    )
