"""Seeds that are printed, and the table of what every fault came to."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

COLUMNS = ("fault", "runs", "seed", "lost", "repeated", "out of order", "seconds")


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
    """Lend a way to enter a line into the table that is printed at the end."""

    def enter(fault: str, **figures: object) -> None:
        record_property("fault", {"fault": fault, "seed": seed, **figures})

    return enter


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table: a fault, how often, and what it cost."""
    lines = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "fault"
    ]
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
