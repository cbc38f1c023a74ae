"""A program that asks an address for jobs once and prints how that went."""

from __future__ import annotations

import asyncio
import sys

from support.scripted_api import source_at
from tunewatch.sources.contract import SourceFault


async def main(address: str) -> None:
    """Ask the API at this address for one job."""
    async with source_at(address, timeout=20) as it:
        try:
            page = await it.source.list_jobs(after=None, limit=1)
        except SourceFault as fault:
            sys.stdout.write(f"{type(fault).__name__}: {fault.reason}\n")
        else:
            sys.stdout.write(f"{page.count} jobs\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
