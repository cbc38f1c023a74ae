"""Run every benchmark that has a bar, print one table, fail if a bar is missed.

`make bench`, or `python -m bench [poller commits deliveries scale …]` with
`tests` on the path. `--write-readme` puts the table into the README, between its
markers.
"""

from __future__ import annotations

import argparse
import logging
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from bench import (
    bench_cli,
    bench_commits,
    bench_deliveries,
    bench_history,
    bench_mqtt,
    bench_poller,
    bench_prometheus,
    bench_scale,
    bench_service,
    bench_wandb,
)
from bench.engines import FreshUrl, engines
from bench.loop import loop_name
from bench.report import Figure, as_markdown, as_text, at_most, machine, write_readme

README = Path(__file__).resolve().parents[2] / "README.md"


def command_line() -> list[Figure]:
    """Return the CPU seconds of what a person types most."""
    with tempfile.TemporaryDirectory() as directory:
        found = bench_cli.measure(Path(directory))
    lines = []
    for name, seconds in found.items():
        _, limit = bench_cli.BARS[name]
        what = f"`{name}`, CPU"
        lines.append(at_most(what, statistics.median(seconds), limit, "s", digits=2))
    return lines


PARTS: dict[str, Callable[[FreshUrl], list[Figure]]] = {
    "poller": lambda _: bench_poller.figures(),
    "commits": bench_commits.figures,
    "deliveries": bench_deliveries.figures,
    "mqtt": bench_mqtt.figures,
    "scale": bench_scale.figures,
    "history": bench_history.figures,
    "service": bench_service.figures,
    "metrics": bench_prometheus.figures,
    "wandb": lambda _: bench_wandb.figures(),
    "command-line": lambda _: command_line(),
}


def wanted() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--write-readme", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Run what was asked for."""
    asked = wanted()
    # Told to end, end like at Ctrl-C: the servers of the benchmarks go too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    quiet = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=quiet)
    began, figures = time.monotonic(), list[Figure]()
    with engines() as fresh:
        for name in asked.parts or PARTS:
            sys.stderr.write(f"{name} …\n")
            figures += PARTS[name](fresh)
    about = machine((time.monotonic() - began) / 60) + f" Event loop: {loop_name()}."
    sys.stdout.write(f"{as_text(figures)}\n{about}\n")
    if asked.write_readme:
        write_readme(README, as_markdown(figures, about))
    return 1 if any(line.ok is False for line in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
