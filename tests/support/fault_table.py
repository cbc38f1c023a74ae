"""deploy/FAULTS.md: what was tried, how often, and what it came to.

The figures are those of long forms that passed, from deploy/faults.json, which
`make faults` keeps; what they are of is in `faults_tried`, and what it means in
`reliability_bars`. Run as `python -m support.fault_table`.
"""

from __future__ import annotations

import json

from support.distribution import ROOT
from support.fatal_points import CORE_LOOPS, POINTS, SOURCE_LOOPS
from support.faults_tried import FAULTS, OTHERS
from support.reference_tables import table
from support.reliability_bars import BARS
from support.track_record import COLUMNS

PAGE = ROOT / "deploy/FAULTS.md"
RECORD = ROOT / "deploy/faults.json"

_INTRODUCTION = """
# Faults

Written by `make faults`, which runs the long forms, keeps what passed in `faults.json`
and makes this page of it. Most have a short form in `make test`.

One scene for all: the simulated API, whose jobs move and end; receivers that remember
what they acknowledged, and are the oracle; the daemon as a process of its own; and a
judge that reads the store by SQL of its own. What the store committed is an obligation.
After the faults every job plays out, all is delivered, and a fresh job must be told to
everybody. It fails if anything was lost, invented, renamed, told twice, sent with other
bytes, sent again although it was acknowledged in the same life, out of order, or
counted as delivered before it was acknowledged.

Every run has a seed, which it prints: `FAULTS_SEED=… make faults ARGS='-k kills'` draws
the same again. Moments are not: they are the machine's. `FAULTS_ROUNDS` is how often a
long form does what it does.
"""
_ABOUT_RECORD = """
Lost: of how many deliveries that were owed. Repeated: what a receiver got again with
the same id and the same bytes. Set aside: a dead letter because three ends in a row met
it out and alone, as is meant to be, and sent again by `tunewatch redeliver`. Recovered:
from the start to readiness, or as it says above. Replicas: taken over, from the fault
until others hold every source; handed over, from SIGTERM until then; all held again,
from when what was away answers. Held: memory that is no copy of a file. The machine had
two cores and other work to do, so times are upper bounds.
"""
_ABOUT_POINTS = """
A launcher wraps one function of the real program from outside; its n-th call is the
last thing that the process does. n is drawn.
"""
_ABOUT_LOOPS = """
Each raised, was cancelled by nobody, and returned. Those of the process end it; those
of a source end its term, and it begins anew.
"""
_OF_WHAT = "Of the process: {}. Of a source: {}."
_ABOUT_BARS = """
What we measure ourselves by, in short, and where it stands. UNPROVED says what it says.
"""


def page() -> str:
    """Return deploy/FAULTS.md."""
    record = json.loads(RECORD.read_text())
    told = {line["fault"] for line in record}
    parts = [
        _INTRODUCTION,
        "## What was tried",
        table(
            ("fault", "how", "bars", "test"),
            [
                (one.name, one.means, ", ".join(map(str, one.bars)), f"`{one.test}`")
                for one in (*FAULTS, *OTHERS)
            ],
        ),
        "## What it came to",
        _ABOUT_RECORD,
        table(_COLUMNS, [_row(line) for line in record]),
    ]
    unrun = [one.name for one in FAULTS if one.name not in told]
    if unrun:
        parts.append(f"Without a line by now: {'; '.join(unrun)}.")
    parts += [
        "## The points",
        _ABOUT_POINTS,
        "\n".join(
            f"* {one.name} (`{one.where}`, {one.when}; {one.stage})"
            for one in POINTS.values()
        ),
        "## The loops",
        _ABOUT_LOOPS,
        _OF_WHAT.format(", ".join(CORE_LOOPS), ", ".join(SOURCE_LOOPS)),
        "## The bars",
        _ABOUT_BARS,
        table(
            ("bar", "promise", "where it stands"),
            [(str(bar.number), bar.promise, bar.proof) for bar in BARS],
        ),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_COLUMNS = (*COLUMNS, "Python", "day")


def _row(line: dict[str, object]) -> tuple[str, ...]:
    return tuple(str(line.get(column.lower(), "")) for column in _COLUMNS)


if __name__ == "__main__":
    PAGE.write_text(page())
