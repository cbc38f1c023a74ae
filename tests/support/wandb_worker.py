"""A process with the W&B plugin and nothing else: to be killed, or to end by itself.

Told over stdin: `points N` brings the points up to N, one event each, `many N` tells of
N other jobs at once, `settle` ends the job, `close` closes the plugin. Answers a line
for each. Arguments: directory and URL.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from support.wandb_story import Story, account
from tunewatch.plugin import Refusal
from tunewatch.testing.lent import LentJobs


async def main(directory: str, url: str) -> None:
    jobs = LentJobs()
    job = Story(jobs)
    job.status("running")
    async with account(jobs, Path(directory), url) as sink:
        while line := await asyncio.to_thread(sys.stdin.readline):
            words = line.split()
            said = "done"
            try:
                match words:
                    case ["points", last]:
                        while len(job.points) < int(last):
                            await sink.deliver(job.trained(len(job.points) + 1))
                    case ["many", count]:
                        async with asyncio.TaskGroup() as tasks:
                            for n in range(int(count)):
                                other = Story(jobs, f"ftjob-{n}").trained(1)
                                tasks.create_task(sink.deliver(other))
                    case ["settle"]:
                        await sink.deliver(job.status("succeeded"))
                        await sink.deliver(job.settles())
                    case _:
                        break
            except Refusal as refusal:
                said = refusal.reason
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
