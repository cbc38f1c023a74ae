"""Thousands of jobs: others get their turn, little is held meanwhile, nothing after."""

from __future__ import annotations

import asyncio
import gc
import gzip
import statistics
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.many_jobs import lateness, metrics_of_many
from support.scraping import OPENMETRICS, Scrape
from tunewatch.plugin import Route

JOBS = 1500
MANY = 4000
GZIP = {**OPENMETRICS, "accept-encoding": "gzip"}


@pytest.fixture
async def route(store_url: str, tmp_path: Path) -> AsyncIterator[Route]:
    async with metrics_of_many(store_url, tmp_path, JOBS) as many:
        yield many.route


async def test_every_job_of_a_real_store_is_in_the_answer_once(route: Route):
    answer = await route.respond(GZIP)
    found = Scrape(gzip.decompress(answer.body), openmetrics=True)
    assert len(found.of("tunewatch_job_info")) == JOBS
    assert set(found.of("tunewatch_job_full_valid_loss").values()) == {0.123456}
    assert len(found.of("tunewatch_job_best_checkpoint_value")) == JOBS
    assert found.one("tunewatch_jobs_hidden") == 0
    assert found.one("tunewatch_jobs_readable") == 1
    assert found.one("tunewatch_jobs_discovered_total", source="research") == JOBS


async def test_the_loop_never_waits_for_more_than_a_small_part_of_it(route: Route):
    loop = asyncio.get_running_loop()
    shares = []
    for _ in range(5):
        async with lateness() as worst:
            began = loop.time()
            await route.respond(GZIP)
            shares.append(worst() / (loop.time() - began))
    # All of it at once would be a share of nearly 1.
    assert statistics.median(shares) < 0.5


async def test_nothing_is_held_after_a_scrape_and_little_meanwhile(
    store_url: str, tmp_path: Path
):
    async with metrics_of_many(store_url, tmp_path, 10) as many:
        respond = many.route.respond
        for headers in (GZIP, {}, GZIP):  # what is made once is made by then
            await respond(headers)
        tracemalloc.start()
        try:
            await many.fill(MANY)
            before = await held()
            tracemalloc.reset_peak()
            packed = (await respond(GZIP)).body
            peak = tracemalloc.get_traced_memory()[1] - before
            text = len((await respond({})).body)
            kept = await held() - before - len(packed)
        finally:
            tracemalloc.stop()
    # The text as a whole never exists where only its gzip is asked for; with it a peak
    # is half as much again. Two thirds are usual, and more where answers come late.
    assert peak < text
    assert kept < 0.1 * text
    assert sys.getrefcount(packed) == 2, "somebody else has it, too"


async def held() -> int:
    """Return the bytes that Python holds for good."""
    for _ in range(3):
        await asyncio.sleep(0)  # the loop lets go of what it has handed over
        gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def test_scrapers_that_come_together_are_served_one_after_the_other(
    route: Route,
):
    one = await route.respond(GZIP)
    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(_size(route), name=f"scraper:{n}") for n in range(4)]
    assert {abs(wait.result() - len(one.body)) < 10_000 for wait in waits} == {True}


async def _size(route: Route) -> int:
    return len((await route.respond(GZIP)).body)
