"""A process that commits and says what was acknowledged, to be killed or starved.

Run as `python -m support.store_writer URL SOURCE`: prints the id of each message after
its commit was acknowledged, for ever. With `--starve DIRECTORY` it fills a small file
system instead and shows that everything goes on once there is room.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from support.stores import Desk, message, open_desk, raw_job
from tunewatch.store.records import StoreUnavailable


async def commit_for_ever(url: str, source: str) -> None:
    """Commit one message after the other, saying each when it is acknowledged."""
    async with open_desk(url, owner=source, source=source) as desk:
        await desk.saw(source, raw=raw_job(source))
        for number in itertools.count():
            await desk.saw(source, entries=(message(number),))
            print(f"ev-{number}", flush=True)  # noqa: T201 - the parent reads it


async def starve(directory: Path) -> None:
    """Fill the disk, check that nothing acknowledged is lost, make room, go on."""
    ballast = directory / "ballast"
    ballast.write_bytes(b"x" * 400_000)
    async with open_desk(f"sqlite:///{directory / 'state.db'}") as desk:
        await desk.saw("a", raw=raw_job("a"))
        acknowledged, reason = await fill(desk)
        assert "the disk is full" in reason, reason
        assert acknowledged > 0
        # Reading goes on, and nothing half-written is to be seen.
        page = await desk.store.reads.jobs()
        assert [row.job.id for row in page.rows] == ["a"]
        events = await desk.store.reads.events(limit=100_000)
        assert len(events) == acknowledged + 2 == len(desk.heard)
        assert desk.held in await desk.store.leases.renew([desk.held])
        ballast.unlink()
        seen = await desk.saw("a", entries=(message(acknowledged),))
        assert len(seen.events) == 1
        assert seen.events[0].position == acknowledged + 3
    print("went on", flush=True)  # noqa: T201 - the parent reads it


async def fill(desk: Desk) -> tuple[int, str]:
    """Commit until the disk is full; return how often it worked, and what was said."""
    for number in itertools.count():
        try:
            await desk.saw("a", entries=(message(number, "x" * 2000),))
        except StoreUnavailable as fault:
            return number, fault.reason
    raise AssertionError


if __name__ == "__main__":
    if sys.argv[1] == "--starve":
        asyncio.run(starve(Path(sys.argv[2])))
    else:
        asyncio.run(commit_for_ever(sys.argv[1], sys.argv[2]))
