"""How often what is asked: rates, the budget, and what a quiet cycle costs."""

from __future__ import annotations

from collections import Counter

import pytest

from support.served_items import ended_item, job_item, message_item
from support.watching import Watch, simulated, until, watching
from tunewatch import pace
from tunewatch.testing import Fault

SETTLED = "tunewatch.job.settled"
LIST = "*/jobs[?]*"


def put(watch: Watch, job_id: str, status: str) -> None:
    watch.api.put_job(job_item(job_id, watch.now(), status))


async def looks_at(watch: Watch, job_id: str, seconds: float) -> int:
    """Return how many looks a job got in so many simulated seconds."""
    since = watch.api.clock.now()
    await watch.passed(seconds)
    asked = watch.asked(f"*/jobs/{job_id}*", after=since)
    # A quiet look asks for the events or, every tenth time, for the checkpoints.
    lists = [r for r in asked if r.path.endswith(("/events", "/checkpoints"))]
    return len(lists)


@pytest.mark.parametrize(
    ("status", "every"),
    [("running", 15), ("queued", 30), ("paused", 30), ("pausing", 15)],
)
async def test_the_rate_of_looks_follows_the_status(url, status, every):
    async with watching(url) as watch:
        put(watch, "ftjob-1", status)
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            looks = await looks_at(watch, "ftjob-1", 300.0)
        # Latency stretches an interval, jitter is a tenth; tenth looks may be two.
        assert 300 / every * 0.6 <= looks <= 300 / every * 1.1 + 3


async def test_a_settling_job_is_looked_at_a_few_times_a_window(url):
    async with watching(url) as watch:
        watch.api.put_job(ended_item("ftjob-1", watch.now()))
        async with watch.polling():
            await until(lambda: watch.heard.count(SETTLED), what="settled")
        assert 3 <= len(watch.asked("*/jobs/ftjob-1/events*")) <= 5


async def test_the_list_is_read_at_the_idle_interval_when_nothing_is_active(url):
    async with watching(url) as watch, watch.polling() as poller:
        await until(poller.is_caught_up.is_set, what="caught up")
        since = watch.api.clock.now()
        await watch.passed(360)
        idle = len(watch.asked(LIST, after=since))
        put(watch, "ftjob-1", "running")
        await until(lambda: poller.tracked, what="found")
        since = watch.api.clock.now()
        await watch.passed(360)
        active = len(watch.asked(LIST, after=since))
    assert 4 <= idle <= 8
    assert 15 <= active <= 28


async def test_a_word_that_is_never_left_moves_to_a_slow_lane_after_a_day(url):
    rates = pace.Rates(poll_interval=2400.0, idle_interval=7200.0, settle_window=3600.0)
    async with watching(url, speed=40_000.0, rates=rates) as watch:
        put(watch, "ftjob-1", "deep_frozen")
        async with watch.polling() as poller:
            await until(watch.heard.statuses, what="told")
            begun = watch.api.clock.now()
            await watch.passed(90_000)
            slow = watch.api.clock.now()
            await watch.passed(pace.SLOW_LANE * 1.5)
            asked = watch.asked("*/jobs/ftjob-1/events*", after=slow)
            lists = watch.asked(LIST, after=slow)
            assert len(watch.asked("*/ftjob-1/events*", after=begun)) > 18
            assert 1 <= len(asked) <= 3
            # Nothing is active: the list is read at leisure, and still shows it.
            assert len(lists) <= 1.5 * 86_400 / 7200 + 3
            watch.api.set_status("ftjob-1", "running")
            await until(lambda: watch.heard.statuses()[1:], what="moved on")
            assert poller.tracked == 1
        assert watch.heard.statuses() == ["deep_frozen", "running"]


async def test_a_quiet_cycle_costs_one_page_and_one_request_per_running_job(url):
    async with watching(url) as watch:
        at = watch.now()
        for number in range(1000):
            watch.api.put_job(ended_item(f"ftjob-old-{number}", at - 90_000 + number))
        running = [f"ftjob-run-{number:02}" for number in range(20)]
        for number, job_id in enumerate(running):
            watch.api.put_job(job_item(job_id, at - 100 + number))
            watch.api.put_events(job_id, [message_item(number, at)])
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            await until(lambda: len(watch.heard.statuses()) == 20, what="all told")
            # The look after one that brought something may still ask for more.
            await watch.passed(60)
            since = watch.api.clock.now()
            await watch.passed(15 * 24)
        asked = watch.asked(after=since)
        per_job = Counter(r.path.split("/")[4] for r in asked if "/jobs/" in r.path)
        assert sorted(per_job) == running
        lists = [r for r in asked if r.path.endswith("/jobs")]
        assert len(lists) + sum(per_job.values()) == len(asked)
        assert all("after" not in request.query for request in lists)
        # With jitter the fastest cycle is nine tenths of an interval.
        cycles = 24 / 0.9 + 1
        assert len(lists) <= cycles
        assert max(per_job.values()) <= cycles
        assert min(per_job.values()) >= 12, "it spans no tenth look"
        checkpoints = [r for r in asked if r.path.endswith("/checkpoints")]
        assert {r.path.split("/")[4] for r in checkpoints} == set(running)


async def test_jobs_beyond_the_newest_page_are_covered_by_pages_if_that_is_fewer(url):
    async with watching(url) as watch:
        at = watch.now()
        for number in range(40):
            watch.api.put_job(job_item(f"ftjob-run-{number}", at - 9000 + number))
        for number in range(120):
            watch.api.put_job(ended_item(f"ftjob-old-{number}", at - 8000 + number))
        await watch.already_known()
        async with watch.polling() as poller:
            await until(lambda: poller.tracked == 40, what="settled", within=40)
            await watch.passed(60)
            since = watch.api.clock.now()
            await watch.passed(150)
        asked = watch.asked(after=since)
        second = [r for r in asked if r.path.endswith("/jobs") and "after" in r.query]
        retrieves = [r for r in asked if r.path.count("/") == 4]
        assert 5 <= len(second) <= 13
        assert not retrieves


async def test_a_single_job_beyond_the_newest_page_is_retrieved(url):
    async with watching(url) as watch:
        at = watch.now()
        watch.api.put_job(job_item("ftjob-run", at - 9000))
        for number in range(330):
            watch.api.put_job(ended_item(f"ftjob-old-{number}", at - 8000 + number))
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            await watch.passed(60)
            since = watch.api.clock.now()
            await watch.passed(150)
            watch.api.update_job(
                "ftjob-run", {"status": "failed", "finished_at": watch.now()}
            )
            await until(lambda: watch.heard.count("fine_tuning.job.failed"))
        assert watch.asked("*/jobs/ftjob-run", after=since)
        paged = [r for r in watch.asked(LIST, after=since) if "after" in r.query]
        assert not paged


async def test_short_pages_are_counted_as_they_are(url):
    api = simulated(largest_page=10)
    async with watching(url, api=api) as watch:
        at = watch.now()
        for number in range(12):
            watch.api.put_job(job_item(f"ftjob-run-{number}", at - 9000 + number))
        for number in range(8):
            watch.api.put_job(ended_item(f"ftjob-old-{number}", at - 8000 + number))
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            await watch.passed(60)
            since = watch.api.clock.now()
            await watch.passed(150)
        asked = watch.asked(after=since)
        second = [r for r in asked if r.path.endswith("/jobs") and "after" in r.query]
        assert second
        assert not [r for r in asked if r.path.count("/") == 4]


async def test_a_short_budget_is_kept_and_shared_longest_unseen_first(url):
    async with watching(url, requests_per_minute=60) as watch:
        jobs = [f"ftjob-{number:02}" for number in range(60)]
        for number, job_id in enumerate(jobs):
            watch.api.put_job(job_item(job_id, watch.now() - 60 + number))
        await watch.already_known()
        watch.api.requests.clear()
        async with watch.polling():
            await watch.passed(600)
        times = [r.simulated for r in watch.asked()]
        for start in times:
            within = sum(1 for at in times if start <= at < start + 60)
            # A minute on the wire is a request or two longer than at the budget.
            assert within <= 60 + 3
        assert len(times) >= 60 * 10 * 0.5, "the budget is left unused"
        looks = Counter(r.path.split("/")[4] for r in watch.asked("*/events*"))
        assert set(looks) == set(jobs)
        assert max(looks.values()) - min(looks.values()) <= 2
        # A tenth is kept for discovery.
        assert len(watch.asked(LIST)) >= 600 / 15 * 0.5


async def test_one_job_whose_events_always_fail_does_not_hold_up_the_others(url):
    async with watching(url) as watch:
        watch.api.fault("*/ftjob-0/events*", Fault.status(500), times=None)
        for number in range(5):
            put(watch, f"ftjob-{number}", "running")
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            since = watch.api.clock.now()
            await watch.passed(300)
        looks = Counter(
            r.path.split("/")[4] for r in watch.asked("*/jobs/*", after=since)
        )
        assert min(looks[f"ftjob-{number}"] for number in range(1, 5)) >= 12
        assert looks["ftjob-0"] < 12, "it does not back off"
        assert watch.heard.count("tunewatch.source.down") == 0
