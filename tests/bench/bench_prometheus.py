"""How long `/metrics` takes for 10,000 jobs, and how long the event loop stands still.

Run: python tests/bench/bench_prometheus.py [JOBS]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.job_rows import job_row, selection
from support.readers import HandmadeJobs, lent_context
from tunewatch_plugins.prometheus import Metrics, Settings

RENDER_TARGET = 0.25  # s
STALL_TARGET = 0.025  # s
ROUNDS = 7


async def longest_gap(stop: asyncio.Event) -> float:
    """Return the longest time between two turns of this task, in seconds."""
    worst, last = 0.0, time.perf_counter()
    while not stop.is_set():
        await asyncio.sleep(0)
        now = time.perf_counter()
        worst, last = max(worst, now - last), now
    return worst


async def measure(metrics: Metrics) -> tuple[float, float, int]:
    """Return seconds to answer, the longest stall in seconds, and bytes."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        gap = group.create_task(longest_gap(stop), name="gap")
        await asyncio.sleep(0)
        started = time.perf_counter()
        answer = await metrics.respond({})
        took = time.perf_counter() - started
        stop.set()
    return took, gap.result(), len(answer.body)


async def main(count: int) -> int:
    """Print the best round and say whether it is within the targets."""
    jobs = HandmadeJobs()
    jobs.rows = [
        job_row(f"ftjob-{n:024d}", selection=selection()) for n in range(count)
    ]
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(max_jobs=max(count, 1))
        metrics = Metrics(settings, lent_context(jobs, Path(directory)))
        rounds = [await measure(metrics) for _ in range(ROUNDS)]
    took = min(r[0] for r in rounds)
    stall = sorted(r[1] for r in rounds)[ROUNDS // 2]
    size = rounds[0][2]
    sys.stdout.write(
        f"{count} jobs: {took * 1e3:.0f} ms (target {RENDER_TARGET * 1e3:.0f}), "
        f"median of longest stalls {stall * 1e3:.1f} ms "
        f"(target {STALL_TARGET * 1e3:.0f}), {size / 1e6:.1f} MB\n"
    )
    return 0 if took <= RENDER_TARGET and stall <= STALL_TARGET else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(int((sys.argv[1:] or ["10000"])[0]))))
