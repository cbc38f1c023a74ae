"""Jobs that answer 404: gone, or only the source's trouble."""

from __future__ import annotations

import json
from dataclasses import replace

from support.served_items import job_item
from support.watching import Watch, until, watching
from tunewatch import pace
from tunewatch.testing import Fault
from tunewatch.testing.answers import Answer

GONE, BACK = "tunewatch.job.removed", "tunewatch.job.reopened"
RATES = pace.Rates(poll_interval=60.0, idle_interval=60.0, settle_window=180.0)


async def put_running(watch: Watch, count: int) -> list[str]:
    jobs = [f"ftjob-{number}" for number in range(count)]
    for number, job_id in enumerate(jobs):
        watch.api.put_job(job_item(job_id, watch.now() - 60 + number))
    return jobs


def without_the_first(answer: Answer) -> Answer:
    """Leave the job 0 out of a list, as one that lags would."""
    page = json.loads(answer.body)
    page["data"] = [item for item in page["data"] if item["id"] != "ftjob-0"]
    return replace(answer, body=json.dumps(page).encode())


async def all_told(watch: Watch, count: int) -> None:
    await until(lambda: len(watch.heard.statuses()) >= count, what="told")


async def test_a_job_missing_three_times_over_a_quarter_of_an_hour_is_removed(url):
    async with watching(url, speed=1200.0, rates=RATES) as watch:
        await put_running(watch, 4)
        async with watch.polling() as poller:
            await all_told(watch, 4)
            gone_at = watch.api.clock.now()
            watch.api.delete_job("ftjob-0")
            await until(lambda: watch.heard.count(GONE), what="removed")
            assert watch.api.clock.now() - gone_at >= pace.REMOVED_AFTER
            await until(lambda: poller.tracked == 3, what="no longer looked at")
            asked = len(watch.asked("*ftjob-0*"))
            await watch.passed(900)
            assert len(watch.asked("*ftjob-0*")) == asked
        assert watch.heard.types("ftjob-0")[-1] == GONE
        assert watch.heard.count(GONE) == 1
        missed = [r for r in watch.asked("*/jobs/ftjob-0") if r.status == 404]
        assert len(missed) >= pace.REMOVED_TIMES


async def test_a_job_missing_once_or_twice_is_not_removed(url):
    async with watching(url, speed=1200.0, rates=RATES) as watch:
        await put_running(watch, 4)
        async with watch.polling():
            await all_told(watch, 4)
            forgetful = Fault.altered("forgets", without_the_first)
            watch.api.fault("GET */jobs[?]*", forgetful, times=None)
            missing = watch.api.fault("*/jobs/ftjob-0", Fault.status(404), times=2)
            await until(lambda: len(missing.hits) == 2, what="missing twice")
            await watch.passed(1800)
        assert watch.heard.count(GONE) == 0


async def test_more_than_half_missing_at_once_is_the_sources_trouble(url):
    async with watching(url, speed=1200.0, rates=RATES) as watch:
        jobs = await put_running(watch, 4)
        async with watch.polling():
            await all_told(watch, 4)
            kept = [watch.api.job(job_id) for job_id in jobs[:3]]
            for job_id in jobs[:3]:
                watch.api.delete_job(job_id)
            await watch.passed(2400)
            assert watch.heard.count(GONE) == 0
            for job in kept:
                watch.api.put_job(job.fields(watch.now()))
            await watch.passed(600)
        assert watch.heard.count(GONE) == watch.heard.count(BACK) == 0


async def test_a_removed_job_that_comes_back_is_reopened(url):
    async with watching(url, speed=1200.0, rates=RATES) as watch:
        await put_running(watch, 3)
        async with watch.polling() as poller:
            await all_told(watch, 3)
            item = watch.api.job("ftjob-0").fields(watch.now())
            watch.api.delete_job("ftjob-0")
            await until(lambda: watch.heard.count(GONE), what="removed")
            watch.api.put_job(item)
            await until(lambda: watch.heard.count(BACK), what="reopened")
            await watch.passed(300)
            assert poller.tracked == 3
        assert watch.heard.types("ftjob-0") == [
            "tunewatch.job.discovered",
            "fine_tuning.job.running",
            GONE,
            BACK,
        ]


async def test_events_that_are_missing_do_not_make_a_job_removed(url):
    async with watching(url, speed=1200.0, rates=RATES) as watch:
        await put_running(watch, 1)
        watch.api.fault("*/events*", Fault.status(404), times=None)
        watch.api.fault("*/checkpoints*", Fault.status(404), times=None)
        async with watch.polling():
            await all_told(watch, 1)
            await watch.passed(1800)
        assert watch.heard.types() == [
            "tunewatch.job.discovered",
            "fine_tuning.job.running",
        ]
