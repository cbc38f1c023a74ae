"""What polling costs while nothing changes: CPU for a page, requests for a cycle.

The page goes the poller's whole way: fetched by the source, judged by `Listing` against
a real store. The cycle is the real poller's against the simulated API.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import structlog
from openai import AsyncOpenAI

from bench.bench_page import JOBS, BarePage, measured, serving
from bench.loop import run
from bench.report import Figure, at_most
from support.simulated import still_api
from support.watching import Watch, until, watching
from tunewatch.clock import SystemClock
from tunewatch.poller.listing import Listing
from tunewatch.poller.noticed import Noticed
from tunewatch.sources.contract import Source, SourceContext
from tunewatch.sources.http import shared_http
from tunewatch.sources.openai import OpenAISettings, open_source
from tunewatch.store.opening import open_store
from tunewatch.testing import SimulatedApi

MOST_OF_BARE, MOST_OF_MODELS = 3.0, 0.1
KNOWN, RUNNING = 1000, 20
CYCLES, SPEED, INTERVAL = 30, 60.0, 15.0


# A page that has not changed


@asynccontextmanager
async def listing_of(source: Source, directory: str) -> AsyncIterator[Listing]:
    """Yield a listing in front of a real store."""
    clock, url = SystemClock(), f"sqlite:///{directory}/state.db"
    async with open_store(url, clock=clock, owner="bench") as store:
        row = await store.sources.contact("bench", "openai", source.realm)
        held = await store.leases.acquire(row.id)
        assert held is not None
        decode = source.decode
        yield Listing(
            source=source,
            source_id=row.id,
            backfill_before=row.backfill_before,
            tracked={},
            peek=lambda ids: store.sources.peek(row.realm, list(ids)),
            commit=lambda seen: store.journal.commit(held, seen, decode=decode),
            clock=clock,
            numbers=count(1),
            noticed=Noticed(log=structlog.get_logger("bench")),
        )


async def know(listing: Listing, source: Source) -> None:
    """Read the page until all of it is known: what is new is committed."""
    page = await source.list_jobs(after=None, limit=JOBS)
    _, new = await listing.take(page, rank=0)
    assert len(new) == JOBS
    await listing.admit(new)
    _, new = await listing.take(page, rank=0)
    assert not new


async def compare_pages(directory: str) -> dict[str, float]:
    """Return milliseconds of CPU for each way to look at the same page."""
    typed = msgspec.json.Decoder(BarePage)
    async with (
        serving() as base_url,
        shared_http() as http,
        aiohttp.ClientSession(headers={"authorization": "Bearer sk-bench"}) as session,
        open_source(
            OpenAISettings(base_url=base_url),
            SourceContext(
                name="bench",
                secret=lambda: "sk-bench",
                observe=lambda call: None,
                http=http,
            ),
        ) as source,
        listing_of(source, directory) as listing,
    ):
        client: Any = http
        sdk = AsyncOpenAI(
            api_key="sk-bench", base_url=base_url, http_client=client, max_retries=0
        )
        await know(listing, source)

        async def bare() -> None:
            address = f"{base_url}/fine_tuning/jobs?limit={JOBS}"
            async with session.get(address) as response:
                page = typed.decode(await response.read())
            assert len(page.data) == JOBS

        async def ours() -> None:
            page = await source.list_jobs(after=None, limit=JOBS)
            _, new = await listing.take(page, rank=0)
            assert not new

        async def models() -> None:
            page = await sdk.fine_tuning.jobs.list(limit=JOBS)
            assert len([job.id for job in page.data]) == JOBS

        return await measured({"bare": bare, "ours": ours, "models": models})


def page_figures() -> list[Figure]:
    """Compare the poller's page with a bare one and with the SDK's models."""
    with tempfile.TemporaryDirectory() as directory:
        spent = run(compare_pages(directory))
    ours = spent["ours"]
    what = f"a page of {JOBS} unchanged jobs, CPU of bare aiohttp + msgspec"
    against_bare = at_most(
        what,
        ours / spent["bare"],
        MOST_OF_BARE,
        "times",
        digits=2,
        ratio=f"{ours:.2f} : {spent['bare']:.2f} ms",
    )
    against_models = at_most(
        "the same, CPU of iterating the SDK's models",
        ours / spent["models"],
        MOST_OF_MODELS,
        "times",
        digits=3,
        ratio=f"{ours:.2f} : {spent['models']:.2f} ms",
    )
    return [against_bare, against_models]


# A cycle in which nothing moves


def organisation() -> SimulatedApi:
    """Return an API that stands still: jobs that ended long ago, some that run."""
    api = still_api()
    now = api.clock.now()
    api.put_many(KNOWN - RUNNING, start=now - 30 * 86_400, steps=30)
    api.put_many(RUNNING, start=now - 7200, steps=1000, seconds_per_step=60.0)
    return api


async def quiet_cycles(watch: Watch) -> tuple[Counter[str], float, set[str]]:
    """Return requests by endpoint, the cycles they were made in, and what changed."""
    async with watch.polling() as poller:
        await until(poller.is_caught_up.is_set, within=60, what="all jobs are known")
        await until(lambda: poller.tracked == RUNNING, within=60)
        # The first looks are complete ones, and tell: wait for some that tell nothing.
        await watch.clock.sleep(4 * INTERVAL)
        watch.calls.clear()
        watch.heard.refs.clear()
        began = watch.clock.monotonic()
        await watch.clock.sleep(CYCLES * INTERVAL)
        cycles = (watch.clock.monotonic() - began) / INTERVAL
        asked = Counter(call.endpoint for call in watch.calls)
        return asked, cycles, {ref.type for ref in watch.heard.refs}


async def count_requests(directory: str) -> tuple[Counter[str], float]:
    """Return the requests of quiet cycles by endpoint, and how many cycles it were."""
    url = f"sqlite:///{Path(directory) / 'quiet.db'}"
    async with watching(url, api=organisation(), speed=SPEED) as watch:
        asked, cycles, told = await quiet_cycles(watch)
        known = len(
            await watch.store.sources.tracked(watch.row.id, watch.source.decode)
        )
        assert known == RUNNING
    assert not told, f"nothing moved, and yet there were {told}"
    return asked, cycles


def cycle_figures() -> list[Figure]:
    """Count what a quiet cycle asks for."""
    with tempfile.TemporaryDirectory() as directory:
        asked, cycles = run(count_requests(directory))
    a_cycle = asked.total() / cycles
    # Cycles are drawn a tenth longer or shorter, so that a count over some of them is
    # a little off: half a request is less than any look more would be.
    shown = ", ".join(f"{asked[name] / cycles:.1f} {name}" for name in sorted(asked))
    what = f"requests in a quiet cycle, {KNOWN:,} known jobs, {RUNNING} running"
    line = at_most(what, a_cycle, 1 + RUNNING, "", digits=1, ratio=shown)
    reread = asked["job"] + asked["file"]
    ok = a_cycle <= 1 + RUNNING + 0.5 and not reread
    return [line._replace(ok=ok)]


def figures() -> list[Figure]:
    """Return every line of this benchmark."""
    return [*page_figures(), *cycle_figures()]
