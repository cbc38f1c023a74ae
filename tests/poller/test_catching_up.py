"""First contact, downtime and outages: what is told of the past, and what is not."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

import pytest

from support.served_items import ended_item, job_item, message_item, metrics_item
from support.watching import SkippingClock, Watch, until, watching
from tunewatch import pace
from tunewatch.testing import Fault

DISCOVERED, SETTLED = "tunewatch.job.discovered", "tunewatch.job.settled"
HOUR = 3600


def put_history(watch: Watch) -> None:
    """Serve jobs that ended ten hours, one hour and no time ago, and a running one."""
    at = watch.now()
    ages = {"old": 10 * HOUR, "late": HOUR, "fresh": -2}
    for name, age in ages.items():
        watch.api.put_job(ended_item(f"ftjob-{name}", at - age - 60))
        events = [message_item(1, at - age, of=name)]
        watch.api.put_events(f"ftjob-{name}", events)
    watch.api.put_job(job_item("ftjob-running", at - 20 * HOUR))
    watch.api.put_events(
        "ftjob-running", [message_item(1, at - 19 * HOUR, of="running")]
    )


@pytest.mark.parametrize(
    ("backfill", "told"),
    [
        ("none", {"fresh", "running"}),
        (2 * HOUR, {"late", "fresh", "running"}),
        ("all", {"old", "late", "fresh", "running"}),
    ],
)
async def test_backfill_says_how_far_back_ended_jobs_are_told(url, backfill, told):
    async with watching(url, backfill=backfill) as watch:
        put_history(watch)
        async with watch.polling():
            enough = len(told)
            await until(lambda: len(watch.heard.statuses()) == enough, what="told")
            await watch.passed(60)
        found = {event.common.id for event in watch.heard.events}
        assert found == {f"ftjob-{name}" for name in told}
        assert set(watch.heard.messages("ftjob-running")) == {"running-1"}
        marked = {e.common.id for e in watch.heard.events if e.common.backfilled}
        assert marked == {f"ftjob-{name}" for name in told - {"fresh"}}
        silent = {"old", "late", "fresh"} - told
        assert not [r for name in silent for r in watch.asked(f"*ftjob-{name}*")]


async def test_the_backfill_point_never_moves(url):
    async with watching(url, backfill=2 * HOUR) as watch:
        before = watch.row.backfill_before
        again = await watch.store.sources.contact(
            "research", "openai", watch.source.realm, backfill="all"
        )
        assert again.backfill_before == before
        put_history(watch)
        async with watch.polling():
            await until(lambda: len(watch.heard.statuses()) == 3, what="told")


async def test_a_silent_job_that_changes_later_is_told_with_its_history(url):
    async with watching(url) as watch:
        put_history(watch)
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            watch.api.update_job("ftjob-old", {"metadata": {"kept": "yes"}})
            await until(lambda: watch.heard.count(SETTLED, "ftjob-old"), what="settled")
        assert watch.heard.types("ftjob-old") == [
            DISCOVERED,
            "fine_tuning.event.message",
            "fine_tuning.job.failed",
            SETTLED,
        ]
        history = watch.heard.of("ftjob-old")[:3]
        assert all(event.common.backfilled for event in history)


async def test_a_job_that_came_and_went_while_the_daemon_was_down_is_told(store_url):
    async with watching(store_url) as watch:
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
        at = watch.now()
        watch.api.put_job(ended_item("ftjob-1", at, "cancelled"))
        metrics = [metrics_item(step, at + step) for step in (3, 2, 1)]
        watch.api.put_events("ftjob-1", [*metrics, message_item(1, at)])
        await watch.passed(400)
        async with watch.polling():
            await until(lambda: watch.heard.count(SETTLED), what="settled")
        assert watch.heard.types("ftjob-1") == [
            DISCOVERED,
            "fine_tuning.event.message",
            "fine_tuning.event.metrics",
            "fine_tuning.job.cancelled",
            SETTLED,
        ]
        assert [point.step for point in watch.heard.points("ftjob-1")] == [1, 2, 3]


async def test_a_restart_repeats_nothing(store_url):
    async with watching(store_url) as watch:
        for number in range(4):
            job_id = f"ftjob-{number}"
            watch.api.put_job(job_item(job_id, watch.now() - 60))
            watch.api.put_events(job_id, [metrics_item(1, watch.now() - 30, of=job_id)])
        async with watch.polling():
            await until(lambda: len(watch.heard.statuses()) == 4, what="told")
        told = len(watch.heard.events)
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            await watch.passed(100)
        assert len(watch.heard.events) == told
        assert len({event.id for event in watch.heard.events}) == told


async def test_a_thousand_changes_during_an_outage_are_each_told_once(url):
    rates = pace.Rates(settle_window=7200.0)
    speed, per_minute = 100.0, 150
    async with watching(
        url,
        speed=speed,
        clock=SkippingClock(speed),
        rates=rates,
        requests_per_minute=per_minute,
    ) as watch:
        at = watch.now()
        jobs = [f"ftjob-{number:04}" for number in range(1000)]
        for number, job_id in enumerate(jobs):
            watch.api.put_job(job_item(job_id, at - 5000 + number))
        await watch.already_known()
        assert Counter(watch.heard.statuses()) == {"running": 1000}
        async with watch.polling() as poller:
            down = watch.api.fault("*", Fault.status(503), times=None)
            await until(lambda: down.hits, what="down")
            await watch.skipped(6 * HOUR)
            for number, job_id in enumerate(jobs):
                ending = ("failed", "cancelled", "paused")[number % 3]
                finished = None if ending == "paused" else watch.now()
                watch.api.update_job(
                    job_id, {"status": ending, "finished_at": finished}
                )
            down.lift()
            since = watch.api.clock.now()
            endings = [
                f"fine_tuning.job.{w}" for w in ("failed", "cancelled", "paused")
            ]
            await until(
                lambda: sum(map(watch.heard.count, endings)) >= 1000,
                what="every ending",
                within=60,
            )
            assert poller.tracked == 1000
        assert Counter(watch.heard.statuses()) == {
            "running": 1000,
            "failed": 334,
            "cancelled": 333,
            "paused": 333,
        }
        per_job = Counter(e.job_id for e in watch.heard.events if e.job_id)
        assert set(per_job.values()) == {3}, "discovered, running and its ending"
        assert watch.heard.count("tunewatch.source.down") == 1
        assert watch.heard.count("tunewatch.source.up") == 1
        times = [r.simulated for r in watch.asked(after=since)]
        busiest = max(bisect_left(times, at + 60) - i for i, at in enumerate(times))
        # What is let through in a minute may arrive a little closer together.
        assert busiest <= per_minute * 1.05 + 8
        # Retrieve, events and checkpoints of each; looks and lists again meanwhile.
        assert len(times) <= 4 * 1000


async def test_a_daily_walk_finds_what_changed_beyond_the_newest_page(url):
    rates = pace.Rates(poll_interval=1800.0, idle_interval=3600.0, settle_window=3600.0)
    async with watching(url, speed=36_000.0, rates=rates) as watch:
        at = watch.now()
        for number in range(130):
            watch.api.put_job(ended_item(f"ftjob-{number}", at - 90_000 + number))
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            watch.api.update_job("ftjob-3", {"fine_tuned_model": "ft:late"})
            await until(lambda: watch.heard.count(DISCOVERED), what="found")
        assert {event.common.id for event in watch.heard.events} == {"ftjob-3"}


async def test_a_daemon_that_is_restarted_often_still_walks_once_a_day(url):
    rates = pace.Rates(poll_interval=1800.0, idle_interval=3600.0, settle_window=3600.0)
    async with watching(url, speed=36_000.0, rates=rates) as watch:
        at = watch.now()
        for number in range(130):
            watch.api.put_job(ended_item(f"ftjob-{number}", at - 90_000 + number))
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
        watch.api.update_job("ftjob-3", {"fine_tuned_model": "ft:late"})
        for _ in range(14):
            async with watch.polling():
                await watch.passed(2 * HOUR)
        assert {event.common.id for event in watch.heard.events} == {"ftjob-3"}
