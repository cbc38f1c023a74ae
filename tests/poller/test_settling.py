"""When a job is done with: the settle window, late events, the result file."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from support.served_items import (
    checkpoint_item,
    ended_item,
    job_item,
    laid_over,
    message_item,
    metrics_item,
)
from support.watching import Watch, until, watching
from tunewatch import pace
from tunewatch.testing import Fault

JOB, FILE = "ftjob-1", "file-results"
SETTLED, REOPENED = "tunewatch.job.settled", "tunewatch.job.reopened"
METRICS = "fine_tuning.event.metrics"
CONTENT = f"*/files/{FILE}/content"
CSV = b"step,train_loss,train_accuracy,valid_loss\n1,0.9,0.5,\n2,0.8,0.6,0.75\n"


async def settled(watch: Watch, times: int = 1) -> float:
    """Return when a job was settled for the n-th time."""
    await until(lambda: watch.heard.count(SETTLED) == times, what="settled")
    return watch.api.clock.now()


def put_succeeded(watch: Watch, **more: object) -> None:
    watch.api.put_job(succeeded(watch, **more))


def succeeded(watch: Watch, **more: object) -> dict[str, object]:
    fields = {"result_files": [FILE], "fine_tuned_model": "ft:x", **more}
    return ended_item(JOB, watch.now(), "succeeded", **fields)


async def test_a_job_settles_after_two_complete_looks_a_window_apart(url):
    async with watching(url) as watch:
        watch.api.put_job(ended_item(JOB, watch.now()))
        async with watch.polling() as poller:
            await until(lambda: watch.heard.count("fine_tuning.job.failed"))
            told = watch.api.clock.now()
            assert await settled(watch) - told >= 90.0 - 5.0
            await until(lambda: poller.tracked == 0, what="no longer looked at")
            quiet = watch.api.clock.now()
            await watch.passed(120)
        assert not watch.asked(f"*{JOB}*", after=quiet)
        looks = [r.simulated for r in watch.asked(f"*/jobs/{JOB}/checkpoints*")]
        assert looks[-1] - looks[0] >= 90.0 - 5.0
        assert len(looks) == len(watch.asked(f"*/jobs/{JOB}/events*"))


async def test_late_events_begin_the_window_again(url):
    async with watching(url) as watch:
        watch.api.put_job(ended_item(JOB, watch.now()))
        async with watch.polling():
            await until(lambda: watch.heard.count("fine_tuning.job.failed"))
            await watch.passed(60)
            assert watch.heard.count(SETTLED) == 0
            watch.api.add_events(JOB, [message_item(1, watch.now(), "billed: 7")])
            late = watch.api.clock.now()
            assert await settled(watch) - late >= 90.0
        assert watch.heard.types()[-1] == SETTLED


async def test_a_window_begins_again_with_a_restart(url):
    async with watching(url) as watch:
        watch.api.put_job(ended_item(JOB, watch.now()))
        async with watch.polling():
            await until(lambda: watch.heard.count("fine_tuning.job.failed"))
            await watch.passed(50)
        since = watch.api.clock.now()
        async with watch.polling():
            assert await settled(watch) - since >= 90.0


async def test_a_settled_job_that_changes_later_is_reopened_and_settles_again(url):
    async with watching(url) as watch:
        watch.api.put_job(ended_item(JOB, watch.now()))
        async with watch.polling() as poller:
            await settled(watch)
            await until(lambda: poller.tracked == 0, what="no longer looked at")
            watch.api.update_job(JOB, {"metadata": {"kept": "yes"}})
            watch.api.add_events(JOB, [message_item(1, watch.now())])
            await settled(watch, times=2)
        types = watch.heard.types()
        later = types[types.index(SETTLED) + 1 :]
        assert later == [
            REOPENED,
            "tunewatch.job.updated",
            "fine_tuning.event.message",
            SETTLED,
        ]


async def test_a_settled_job_is_asked_about_only_if_the_list_says_something_new(url):
    async with watching(url) as watch:
        watch.api.put_job(ended_item(JOB, watch.now()))
        async with watch.polling() as poller:
            await settled(watch)
            await until(lambda: poller.tracked == 0, what="no longer looked at")
            watch.api.update_job(JOB, {"estimated_finish": 5})
            quiet = watch.api.clock.now()
            await watch.passed(150)
            assert not watch.asked(f"*{JOB}*", after=quiet)
            # A page that lags is looked into, and comes to nothing.
            lag = laid_over("lag", JOB, status="running", finished_at=None)
            lagging = watch.api.fault("GET */jobs[?]*", lag, times=3)
            await until(lambda: len(lagging.hits) == 3, what="lagged")
            await until(lambda: poller.tracked == 0, what="looked into")
        assert watch.heard.count(REOPENED) == 0
        assert len(watch.asked(f"*/jobs/{JOB}", after=quiet)) < 8


@pytest.mark.parametrize("base64", [True, False], ids=["base64", "plain"])
async def test_a_result_file_fills_only_what_the_events_did_not_carry(url, base64):
    async with watching(url) as watch:
        put_succeeded(watch)
        at = watch.now()
        watch.api.put_events(JOB, [metrics_item(1, at, train_loss=0.91234)])
        watch.api.put_file(FILE, CSV, base64=base64)
        async with watch.polling():
            await settled(watch)
        [event, *filled] = watch.heard.points(JOB)
        assert event.values == {"train_loss": 0.91234}
        accuracy = "train_mean_token_accuracy"
        assert [(point.step, point.values) for point in filled] == [
            (1, {accuracy: 0.5}),
            (2, {"train_loss": 0.8, accuracy: 0.6, "valid_loss": 0.75}),
        ]
        assert [point.n for point in (event, *filled)] == [1, 2, 3]
        assert len([r for r in watch.asked(CONTENT) if r.status == 200]) == 1


@pytest.mark.parametrize("pages", [1, 2])
async def test_a_file_waits_for_events_that_came_after_a_look_that_broke_off(
    url, pages
):
    """What was read by then is of before the end, and the file has all of it."""
    fails = {1: "*/checkpoints*", 2: "*/events*after=*"}[pages]
    async with watching(url) as watch:
        at = watch.now() - 100
        watch.api.put_job(job_item(JOB, at))
        older = [message_item(number, at) for number in range(100 * (pages - 1))]
        first = metrics_item(1, at + 1, train_loss=0.91234)
        watch.api.put_events(JOB, [first, *older])
        refused = watch.api.fault(fails, Fault.status(503), times=None)
        async with watch.polling():
            await until(lambda: refused.hits, what="a look broke off, its events read")
            watch.api.add_events(JOB, [metrics_item(2, watch.now(), train_loss=0.8)])
            watch.api.update_job(JOB, succeeded(watch))
            watch.api.put_file(FILE, CSV)
            refused.lift()
            await settled(watch)
        accuracy = "train_mean_token_accuracy"
        assert [(point.step, point.values) for point in watch.heard.points(JOB)] == [
            (1, {"train_loss": 0.91234}),
            (2, {"train_loss": 0.8}),
            (1, {accuracy: 0.5}),
            (2, {accuracy: 0.6, "valid_loss": 0.75}),
        ]
        told = watch.heard.types(JOB)
        *_, last = (n for n, kind in enumerate(told) if kind == METRICS)
        assert last < told.index("fine_tuning.job.succeeded")


async def test_a_failed_job_is_asked_for_no_file(url):
    async with watching(url) as watch:
        watch.api.put_job(ended_item(JOB, watch.now()))
        async with watch.polling():
            await settled(watch)
        assert not watch.asked("*/files/*")


REFUSALS = [Fault.status(404), Fault.status(403), Fault.status(500)]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda fault: fault.name)
async def test_a_file_that_is_not_to_be_had_holds_up_settling_for_ten_minutes(
    url, refusal
):
    async with watching(url, speed=600.0) as watch:
        put_succeeded(watch)
        watch.api.fault(CONTENT, refusal, times=None)
        async with watch.polling():
            succeeded = "fine_tuning.job.succeeded"
            await until(lambda: watch.heard.count(succeeded), what="succeeded")
            told = watch.api.clock.now()
            assert not watch.heard.count(SETTLED)
            waited = await settled(watch) - told
        assert pace.FILE_PATIENCE - 60 <= waited <= pace.FILE_PATIENCE + 240


async def test_a_file_that_is_never_named_does_not_hold_up_settling_for_ever(url):
    async with watching(url, speed=600.0) as watch:
        put_succeeded(watch, result_files=[])
        async with watch.polling() as poller:
            await settled(watch)
            await until(lambda: poller.tracked == 0, what="no longer looked at")


async def test_a_late_file_is_tried_hourly_and_reopens_the_job(url):
    rates = pace.Rates(poll_interval=120.0, idle_interval=120.0, settle_window=360.0)
    async with watching(url, speed=3000.0, rates=rates) as watch:
        put_succeeded(watch)
        watch.api.withhold_file(FILE)
        with capture_logs() as logs:
            async with watch.polling() as poller:
                at = await settled(watch)
                asked = len(watch.asked(CONTENT))
                await until(
                    lambda: len(watch.asked(CONTENT)) >= asked + 2, what="tried"
                )
                tried = [r.simulated for r in watch.asked(CONTENT)][-2:]
                assert tried[1] - tried[0] >= pace.FILE_AGAIN * 0.9
                assert tried[1] - at <= 3 * pace.FILE_AGAIN
                watch.api.put_file(FILE, CSV)
                await settled(watch, times=2)
                await until(lambda: poller.tracked == 0, what="no longer looked at")
        types = watch.heard.types()
        assert types[types.index(SETTLED) + 1 :] == [
            REOPENED,
            "fine_tuning.event.metrics",
            SETTLED,
        ]
        of_files = [line["event"] for line in logs if "result_file" in line["event"]]
        assert of_files == ["poll.no_result_file", "poll.result_file_came"]


async def test_a_late_file_is_still_tried_after_a_restart(url):
    rates = pace.Rates(poll_interval=60.0, idle_interval=60.0, settle_window=180.0)
    async with watching(url, speed=1200.0, rates=rates) as watch:
        put_succeeded(watch)
        watch.api.withhold_file(FILE)
        async with watch.polling():
            await settled(watch)
        watch.api.put_file(FILE, CSV)
        async with watch.polling():
            await until(lambda: watch.heard.count(REOPENED), what="reopened")
        assert len(watch.heard.points(JOB)) == 2


async def test_the_day_of_a_late_file_does_not_begin_again_with_a_restart(url):
    rates = pace.Rates(poll_interval=120.0, idle_interval=120.0, settle_window=360.0)
    day = pace.FILE_GIVEN_UP
    async with watching(url, speed=6000.0, rates=rates, backfill="all") as watch:
        ended = watch.now() - int(day - 2 * pace.FILE_AGAIN)
        fields = {"result_files": [FILE], "fine_tuned_model": "ft:x"}
        watch.api.put_job(ended_item(JOB, ended, "succeeded", **fields))
        watch.api.withhold_file(FILE)
        async with watch.polling():
            await settled(watch)
        before = len(watch.asked(CONTENT))
        async with watch.polling() as poller:
            await until(lambda: len(watch.asked(CONTENT)) > before, what="tried again")
            await until(lambda: poller.tracked == 0, what="given up")
            assert watch.api.clock.now() - ended < day + pace.FILE_AGAIN


async def test_a_checkpoint_listed_at_the_very_end_is_told_before_settling(url):
    async with watching(url) as watch:
        watch.api.put_job(ended_item(JOB, watch.now(), "cancelled"))
        async with watch.polling():
            await until(lambda: watch.heard.count("fine_tuning.job.cancelled"))
            late = checkpoint_item(10, watch.now(), JOB)
            watch.api.put_checkpoints(JOB, [late])
            await settled(watch)
        assert watch.heard.types()[-2:] == ["fine_tuning.checkpoint.created", SETTLED]
