"""CPU seconds of what a person types most: `--help` and `jobs` on an existing store.

Run it with `python tests/bench/bench_cli.py`; it fails if a bar is missed.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.filled_store import make_large_store
from support.program import Program

ROUNDS = 7
JOBS = 1000

BARS = {
    "tunewatch --help": (("--help",), 0.15),
    "tunewatch jobs": (("jobs",), 0.5),
    f"tunewatch jobs --limit {JOBS}": (("jobs", "--limit", str(JOBS)), 0.5),
    "tunewatch jobs -o json": (("jobs", "-o", "json"), 0.5),
    "tunewatch show JOB": (("show", "ftjob-000001"), 0.5),
}


def cpu_seconds(program: Program, arguments: tuple[str, ...]) -> float:
    """Return the user and system seconds that one run takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        program.command(*arguments),
        env=program.environ,
        cwd=program.directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(directory: Path) -> dict[str, list[float]]:
    """Return the seconds of every run of every command; the first of each is not kept.

    It compiles bytecode, which an installation has done.
    """
    make_large_store(directory / "state.db", JOBS)
    environ = {"TUNEWATCH_DAEMON__STATE": f"sqlite:///{directory}/state.db"}
    program = Program(directory, environ)
    found = {}
    for name, (arguments, _) in BARS.items():
        cpu_seconds(program, arguments)
        found[name] = [cpu_seconds(program, arguments) for _ in range(ROUNDS)]
    return found


def main() -> int:
    """Print a table and return 1 if a bar is missed."""
    with tempfile.TemporaryDirectory() as directory:
        found = measure(Path(directory))
    lines = [
        f"{JOBS} jobs in the store, {ROUNDS} runs, {os.cpu_count()} cores",
        f"{'command':32}  {'median':>8}  {'worst':>8}  {'bar':>6}",
    ]
    missed = 0
    for name, seconds in found.items():
        bar = BARS[name][1]
        median = statistics.median(seconds)
        missed += median > bar
        verdict = "ok" if median <= bar else "MISSED"
        figures = f"{median:6.3f} s  {max(seconds):6.3f} s  {bar:4.2f} s"
        lines.append(f"{name:32}  {figures}  {verdict}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
