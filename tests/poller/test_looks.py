"""What one look commits, in which order, and what it never takes for a change."""

from __future__ import annotations

from itertools import pairwise

import pytest

from support.served_items import (
    checkpoint_item,
    ended_item,
    job_item,
    laid_over,
    message_item,
    metrics_item,
)
from support.watching import Watch, shy, until, watching
from tunewatch.testing import Fault
from tunewatch.testing.answers import Answer

JOB = "ftjob-1"
LIST, ONE = "GET */jobs[?]*", f"GET */jobs/{JOB}"
EVENTS, CHECKPOINTS = f"*/jobs/{JOB}/events*", f"*/jobs/{JOB}/checkpoints*"
UPDATED = "tunewatch.job.updated"
SETTLED = "tunewatch.job.settled"
CREATED, REMOVED = "fine_tuning.checkpoint.created", "fine_tuning.checkpoint.removed"


def put_running(watch: Watch, **more: object) -> None:
    watch.api.put_job(job_item(JOB, watch.now() - 60, **more))


def end(watch: Watch, status: str = "failed") -> None:
    watch.api.update_job(JOB, {"status": status, "finished_at": watch.now()})


async def status_told(watch: Watch, status: str) -> None:
    event = f"fine_tuning.job.{status}"
    await until(lambda: watch.heard.count(event), what=f"told to be {status}")


@pytest.mark.parametrize("stale", ["queued", "failed", "paused"])
async def test_a_status_that_only_a_list_page_shows_is_never_told(url, stale):
    async with watching(url) as watch:
        watch.api.put_job(job_item(JOB, watch.now() + 1))
        watch.api.fault(LIST, laid_over("lag", JOB, status=stale), times=None)
        async with watch.polling():
            await status_told(watch, "running")
            await watch.passed(150)
        assert watch.heard.statuses() == ["running"]


async def test_a_change_that_the_retrieve_shows_later_than_the_list_is_not_lost(url):
    async with watching(url) as watch:
        put_running(watch)
        async with watch.polling():
            await status_told(watch, "running")
            lag = laid_over("lag", JOB, status="running", finished_at=None)
            lagging = watch.api.fault(ONE, lag, times=3)
            end(watch)
            await status_told(watch, "failed")
        assert len(lagging.hits) == 3
        assert watch.heard.statuses() == ["running", "failed"]


async def test_list_and_retrieve_may_differ_in_shape_without_a_change(url):
    async with watching(url) as watch:
        watch.api.list_omits = frozenset(
            {"method", "seed", "integrations", "error", "hyperparameters", "metadata"}
        )
        method = {"type": "supervised", "supervised": {"hyperparameters": {"n": 3}}}
        put_running(watch, method=method, metadata={"team": "a"}, estimated_finish=9)
        watch.api.fault(ONE, Fault.empty_error(), times=None)
        async with watch.polling():
            await status_told(watch, "running")
            await watch.passed(90)
            end(watch)
            await until(lambda: watch.heard.count(SETTLED), what="settled")
            await watch.passed(60)
        assert watch.heard.types() == [
            "tunewatch.job.discovered",
            "fine_tuning.job.running",
            "fine_tuning.job.failed",
            SETTLED,
        ]


async def test_only_fields_of_the_closed_list_are_told_as_updates(url):
    async with watching(url) as watch:
        put_running(watch, metadata={"team": "a"})
        async with watch.polling():
            await status_told(watch, "running")
            silent = {"estimated_finish": 7, "trained_tokens": 70, "unheard_of": [1]}
            watch.api.update_job(JOB, silent)
            await watch.passed(60)
            assert watch.heard.count(UPDATED) == 0
            watch.api.update_job(JOB, {"metadata": {"team": "b"}})
            await until(lambda: watch.heard.count(UPDATED), what="updated")
            await watch.passed(60)
        [told] = watch.heard.of(kind=UPDATED)
        change = {"before": {"team": "a"}, "after": {"team": "b"}}
        assert told.payload.changes == {"metadata": change}
        assert told.payload.job["trained_tokens"] == 70


async def test_a_change_on_a_page_during_a_look_is_looked_at_again(url):
    async with watching(url) as watch:
        put_running(watch)
        slow = watch.api.fault(EVENTS, Fault.slow(0.3), times=1, skip=1)
        async with watch.polling() as poller:
            await status_told(watch, "running")
            poller.look_now(JOB)
            await until(lambda: slow.hits, what="a long look")
            end(watch)
            await status_told(watch, "failed")
        assert watch.heard.statuses() == ["running", "failed"]


async def test_an_ended_job_goes_on_only_if_a_second_retrieve_says_so(url):
    async with watching(url) as watch:
        watch.api.put_job(ended_item(JOB, watch.now()))
        async with watch.polling():
            await status_told(watch, "failed")
            doubt = laid_over("lag", JOB, status="running", finished_at=None)
            once = watch.api.fault(ONE, doubt, times=1)
            await until(lambda: once.hits, what="said once to be running")
            await until(lambda: watch.heard.count(SETTLED), what="settled")
            assert watch.heard.statuses() == ["failed"]


async def test_a_job_that_really_goes_on_is_told_one_interval_later(url):
    async with watching(url) as watch:
        watch.api.put_job(ended_item(JOB, watch.now()))
        async with watch.polling():
            await status_told(watch, "failed")
            since = watch.api.clock.now()
            watch.api.update_job(JOB, {"status": "running", "finished_at": None})
            await status_told(watch, "running")
            until_told = watch.api.clock.now()
        assert watch.heard.statuses() == ["failed", "running"]
        seen = [r.simulated for r in watch.asked(f"*/jobs/{JOB}", after=since)]
        seen = [at for at in seen if at <= until_told]
        assert len(seen) >= 2
        assert seen[-1] - seen[0] >= 15.0 - 1e-6


async def test_a_first_sight_is_told_in_order_and_ends_with_the_status(url):
    async with watching(url) as watch:
        at = watch.now()
        watch.api.put_job(ended_item(JOB, at, "cancelled"))
        newest_first = [message_item(2, at + 9), metrics_item(1, at + 5)]
        watch.api.put_events(JOB, [*newest_first, message_item(1, at)])
        watch.api.put_checkpoints(JOB, [checkpoint_item(1, at + 6, JOB)])
        async with watch.polling():
            await status_told(watch, "cancelled")
        assert watch.heard.types() == [
            "tunewatch.job.discovered",
            "fine_tuning.event.message",
            "fine_tuning.event.metrics",
            "fine_tuning.event.message",
            CREATED,
            "fine_tuning.job.cancelled",
        ]
        assert (
            watch.heard.of(kind="fine_tuning.job.")[0].payload.previous_status is None
        )


async def test_a_later_look_tells_what_it_brought_before_the_status(url):
    async with watching(url) as watch:
        put_running(watch)
        async with watch.polling():
            await status_told(watch, "running")
        told = len(watch.heard.events)
        watch.api.put_events(JOB, [message_item(1, watch.now())])
        watch.api.put_checkpoints(JOB, [checkpoint_item(1, watch.now(), JOB)])
        watch.api.update_job(JOB, {"fine_tuned_model": "ft:x"})
        end(watch, "cancelled")
        async with watch.polling():
            await status_told(watch, "cancelled")
        later = watch.heard.events[told:]
        assert [event.type for event in later] == [
            "fine_tuning.event.message",
            CREATED,
            "fine_tuning.job.cancelled",
        ]
        assert later[-1].payload.changes["fine_tuned_model"]["after"] == "ft:x"


async def test_statuses_that_nobody_saw_are_not_invented(url):
    async with watching(url) as watch:
        put_running(watch, status="queued")
        async with watch.polling():
            await status_told(watch, "queued")
        end(watch)
        async with watch.polling():
            await status_told(watch, "failed")
        assert watch.heard.statuses() == ["queued", "failed"]
        assert watch.heard.of(kind="fine_tuning.job.f")[0].payload.previous_status == (
            "queued"
        )


async def test_an_unheard_of_status_passes_through_and_is_not_the_end(url):
    async with watching(url) as watch:
        put_running(watch, status="deep_frozen")
        async with watch.polling() as poller:
            await status_told(watch, "deep_frozen")
            await watch.passed(200)
            assert poller.tracked == 1
        assert watch.heard.count(SETTLED) == 0


async def test_a_look_in_parts_that_is_stopped_between_them_loses_nothing(store_url):
    async with watching(store_url) as watch:
        at = watch.now() - 9000
        watch.api.put_job(job_item(JOB, at))
        rising = [message_item(number, at + number) for number in range(4300)]
        watch.api.put_events(JOB, rising[::-1])
        journal = shy(watch)
        journal.shuts_after = 2  # the first sight and the first part
        async with watch.polling():
            await until(lambda: journal.refused, what="stopped after the first part")
        assert len(watch.heard.messages(JOB)) == 2000
        assert watch.heard.statuses() == []
        journal.is_shut, journal.shuts_after = False, float("inf")
        async with watch.polling():
            await status_told(watch, "running")
        assert watch.heard.messages(JOB) == [item["id"] for item in rising]
        types = watch.heard.types()
        assert types[0] == "tunewatch.job.discovered"
        assert types.count("tunewatch.job.discovered") == 1
        assert types[-1] == "fine_tuning.job.running"
        assert all(event.common.backfilled for event in watch.heard.events)


async def test_checkpoints_are_listed_when_something_moved_and_every_tenth_look(url):
    async with watching(url) as watch:
        put_running(watch)
        async with watch.polling():
            await status_told(watch, "running")
            before = watch.api.clock.now()
            watch.api.add_events(JOB, [message_item(1, watch.now())])
            message = "fine_tuning.event.message"
            await until(lambda: watch.heard.count(message), what="a message")
            assert watch.asked(CHECKPOINTS, after=before)
            quiet = watch.api.clock.now()
            await until(
                lambda: len(watch.asked(CHECKPOINTS, after=quiet)) >= 2,
                what="two tenth looks",
            )
        first, second = [r.simulated for r in watch.asked(CHECKPOINTS, after=quiet)]
        between = [r for r in watch.asked(EVENTS, after=first) if r.simulated < second]
        assert len(between) == 9


def emptied(answer: Answer) -> Answer:
    return Answer(body=b'{"object":"list","data":[],"has_more":false}')


async def test_a_checkpoint_is_removed_only_by_two_lists_an_interval_apart(url):
    async with watching(url) as watch:
        put_running(watch)
        both = [checkpoint_item(step, watch.now(), JOB) for step in (20, 10)]
        watch.api.put_checkpoints(JOB, both)

        def move(number: int) -> None:
            watch.api.add_events(JOB, [message_item(number, watch.now())])

        async with watch.polling():
            await until(lambda: watch.heard.count(CREATED) == 2, what="created")
            forgetful = Fault.altered("forgets", emptied)
            once = watch.api.fault(CHECKPOINTS, forgetful, times=1)
            move(1)
            await until(lambda: once.hits, what="one list that forgets")
            move(2)
            await watch.passed(60)
            assert watch.heard.count(REMOVED) == 0
            watch.api.put_checkpoints(JOB, both[:1])
            asked = len(watch.asked(CHECKPOINTS))
            move(3)
            await until(lambda: len(watch.asked(CHECKPOINTS)) > asked, what="a list")
            await watch.passed(20)
            assert watch.heard.count(REMOVED) == 0
            move(4)
            await until(lambda: watch.heard.count(REMOVED), what="removed")
            await watch.passed(60)
        [gone] = watch.heard.of(kind=REMOVED)
        assert gone.payload.checkpoint["id"] == "ckpt-10"


async def test_a_job_is_looked_at_once_at_a_time(url):
    async with watching(url) as watch:
        put_running(watch)
        watch.api.fault(EVENTS, Fault.slow(0.2), times=None)
        async with watch.polling() as poller:
            await until(lambda: watch.asked(EVENTS), what="a look under way")
            for _ in range(20):
                poller.look_now(JOB)
                await watch.passed(2)
            times = [r.at for r in watch.asked(EVENTS)]
        assert all(b - a >= 0.2 for a, b in pairwise(times))


async def test_look_now_looks_at_once_whatever_the_interval_is(url):
    async with watching(url) as watch:
        put_running(watch)
        async with watch.polling() as poller:
            await status_told(watch, "running")
            await watch.passed(20)
            end(watch)
            since = watch.api.clock.now()
            poller.look_now(JOB)
            await status_told(watch, "failed")
            assert watch.asked(f"*/jobs/{JOB}", after=since)[0].simulated - since < 8.0


async def test_look_now_at_an_unknown_job_reads_the_list(url):
    async with watching(url) as watch, watch.polling() as poller:
        await until(poller.is_caught_up.is_set, what="caught up")
        put_running(watch)
        since = watch.api.clock.now()
        poller.look_now(JOB)
        await until(lambda: watch.asked(LIST[4:], after=since), what="the list")
        assert watch.asked(LIST[4:], after=since)[0].simulated - since < 8.0
