"""Looks that somebody asks for: they come first, and storms of them harm nobody."""

from __future__ import annotations

import asyncio

from support.served_items import job_item
from support.watching import until, watching
from tunewatch import pace
from tunewatch.poller.list_loop import POKED_AGAIN

JOB = "ftjob-asked-for"
SLOW = pace.Rates(poll_interval=3600.0, idle_interval=3600.0)


async def test_a_job_that_is_asked_for_goes_before_all_that_are_due(url):
    rates = pace.Rates(poll_interval=15.0)
    # A budget that is always short: 100 jobs want ten times as much.
    async with watching(url, rates=rates, requests_per_minute=60.0) as watch:
        watch.api.put_many(100, steps=5000, curve="flat")
        watch.api.put_job(job_item(JOB, watch.now() - 10, "running"))
        await watch.already_known()
        async with watch.polling() as poller:
            await until(lambda: poller.tracked == 101, what="all are known")
            await watch.passed(120)
            for _ in range(3):
                asked = watch.api.clock.now()
                poller.look_now(JOB)
                await until(
                    lambda since=asked: watch.asked(f"*/jobs/{JOB}", after=since),
                    what="it was retrieved",
                )
                others = {
                    one.path.split("/")[4]
                    for one in watch.asked("*/jobs/*", after=asked)
                }
                # In turn it would have waited for the hundred others.
                assert len(others - {JOB}) < 50


async def test_a_storm_over_one_job_holds_up_no_other(url):
    async with watching(url, requests_per_minute=120.0) as watch:
        watch.api.put_many(10, steps=5000, curve="flat")
        watch.api.put_job(job_item(JOB, watch.now() - 10, "running"))
        await watch.already_known()
        async with watch.polling() as poller:
            await until(lambda: poller.tracked == 11, what="all are known")
            await watch.passed(60)
            since = watch.api.clock.now()
            while watch.api.clock.now() - since < 300:
                poller.look_now(JOB)
                await asyncio.sleep(0.002)
            for job in watch.api.projects.project("default").jobs(since)[0]:
                assert watch.asked(f"*/jobs/{job.id}/events*", after=since), job.id


async def test_a_storm_over_unknown_jobs_reads_the_list_now_and_then(url):
    async with watching(url, rates=SLOW) as watch, watch.polling() as poller:
        await until(poller.is_caught_up.is_set, what="caught up")
        began = watch.api.clock.now()
        for number in range(500):
            poller.look_now(f"ftjob-{number}")
            await asyncio.sleep(0.001)
        passed = watch.api.clock.now() - began
        reads = len(watch.asked("*/jobs[?]*", after=began))
    assert 1 <= reads <= passed / POKED_AGAIN + 2
