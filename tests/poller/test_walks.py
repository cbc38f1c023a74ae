"""Walks over lists that know no "since": when they end, and what they may mark."""

from __future__ import annotations

from support.served_items import ended_item, job_item, message_item, metrics_item
from support.watching import Watch, shy, simulated, until, watching
from tunewatch.poller.walk import ENOUGH_KNOWN, KnownGround
from tunewatch.testing import Fault

MESSAGE = "fine_tuning.event.message"
DISCOVERED = "tunewatch.job.discovered"
JOB = "ftjob-long"


def put_long_job(watch: Watch, events: int) -> list[str]:
    """Serve a running job with so many messages, oldest first in what is returned."""
    at = watch.now() - 100
    watch.api.put_job(job_item(JOB, at))
    rising = [message_item(number, at + number // 10) for number in range(events)]
    watch.api.put_events(JOB, rising[::-1])
    return [item["id"] for item in rising]


def add_messages(watch: Watch, numbers: range) -> list[str]:
    """Let a job say more."""
    fresh = [message_item(number, watch.now()) for number in numbers]
    watch.api.add_events(JOB, fresh[::-1])
    return [item["id"] for item in fresh]


async def all_known(watch: Watch, ids: list[str]) -> bool:
    known = await watch.store.sources.known_jobs(watch.row.realm, ids)
    return len(known) == len(ids)


def test_twenty_known_items_in_a_row_are_known_ground_also_across_pages():
    ground = KnownGround()
    assert not ground.reached([False] + [True] * (ENOUGH_KNOWN - 1))
    assert ground.reached([True])
    again = KnownGround()
    assert not again.reached([True] * 19 + [False] + [True] * 19)


def test_a_whole_known_page_is_known_ground_however_short():
    assert KnownGround().reached([True])
    assert not KnownGround().reached([True, False, True])
    assert not KnownGround().reached([])


async def test_a_walk_over_news_ends_at_known_ground(url):
    async with watching(url) as watch:
        told = put_long_job(watch, 300)
        async with watch.polling():
            await until(lambda: watch.heard.count(MESSAGE) == 300, what="history")
            since = watch.api.clock.now()
            told += add_messages(watch, range(300, 305))
            await until(lambda: watch.heard.count(MESSAGE) == 305, what="news")
        asked = watch.asked("*/events*", after=since)
        assert asked
        assert all("after" not in request.query for request in asked)
        assert watch.heard.messages(JOB) == told


async def test_a_walk_that_broke_off_resumes_and_tells_nothing_before_its_end(url):
    async with watching(url) as watch:
        older = watch.api.fault("*/events*after=*", Fault.status(503), times=None)
        told = put_long_job(watch, 250)
        async with watch.polling():
            await until(lambda: len(older.hits) >= 2, what="broken off twice")
            assert watch.heard.messages(JOB) == []
            told += add_messages(watch, range(250, 253))
            older.lift()
            await until(lambda: watch.heard.count(MESSAGE) == 253, what="all told")
        assert watch.heard.messages(JOB) == told
        broken = older.hits.count("503")
        cursors = [r.query.get("after") for r in watch.asked("*/events*")]
        assert cursors[: broken + 1] == [None, *[cursors[1]] * broken]


async def test_a_walk_that_broke_off_with_its_poller_begins_again(url):
    async with watching(url) as watch:
        older = watch.api.fault("*/events*after=*", Fault.status(503), times=None)
        told = put_long_job(watch, 250)
        async with watch.polling():
            await until(lambda: older.hits, what="broken off")
        older.lift()
        async with watch.polling():
            await until(lambda: watch.heard.count(MESSAGE) == 250, what="all told")
        assert watch.heard.messages(JOB) == told


async def test_a_cursor_that_repeats_is_a_fault_of_the_source_and_marks_nothing(url):
    async with watching(url) as watch:
        again = watch.api.fault("*/events*", Fault.same_page(), times=None)
        told = put_long_job(watch, 90)
        async with watch.polling():
            await until(lambda: len(again.hits) >= 6, what="asked in circles")
            assert watch.heard.messages(JOB) == []
            assert len(again.hits) < 60, "it goes on after a repeated cursor"
            again.lift()
            await until(lambda: watch.heard.count(MESSAGE) == 90, what="all told")
        assert watch.heard.messages(JOB) == told


async def test_lists_served_oldest_first_are_told_whole_and_in_order(url):
    async with watching(url) as watch:
        watch.api.fault("*/events*", Fault.oldest_first(), times=None)
        told = put_long_job(watch, 130)
        async with watch.polling():
            await until(lambda: watch.heard.count(MESSAGE) == 130, what="history")
            await watch.passed(60)
            told += add_messages(watch, range(130, 140))
            await until(lambda: watch.heard.count(MESSAGE) == 140, what="news")
        assert watch.heard.messages(JOB) == told


async def test_limits_answered_smaller_than_asked_lose_nothing(url):
    api = simulated(largest_page=7)
    async with watching(url, api=api) as watch:
        told = put_long_job(watch, 60)
        at = watch.now()
        others = [f"ftjob-{number}" for number in range(30)]
        for number, job_id in enumerate(others):
            watch.api.put_job(ended_item(job_id, at - 9000 - number))
        async with watch.polling():
            await until(lambda: watch.heard.count(MESSAGE) == 60, what="history")
            told += add_messages(watch, range(60, 90))
            await until(lambda: watch.heard.count(MESSAGE) == 90, what="news")
        assert watch.heard.messages(JOB) == told
        assert await all_known(watch, [JOB, *others])


async def test_events_of_one_second_are_told_by_step_and_position(url):
    async with watching(url) as watch:
        at = watch.now()
        watch.api.put_job(job_item(JOB, at))
        jumbled = [metrics_item(step, at) for step in (4, 2, 3, 1)]
        rising = [message_item(1, at), *jumbled, message_item(2, at)]
        watch.api.put_events(JOB, rising[::-1])
        async with watch.polling():
            await until(lambda: watch.heard.count(MESSAGE) == 2, what="told")
        kinds = watch.heard.of(JOB, kind="fine_tuning.event")
        assert [event.type.rpartition(".")[2] for event in kinds] == [
            "message",
            "metrics",
            "message",
        ]
        assert [point.step for point in watch.heard.points(JOB)] == [1, 2, 3, 4]
        assert [point.n for point in watch.heard.points(JOB)] == [1, 2, 3, 4]


async def test_one_malformed_event_costs_neither_its_page_nor_its_job(url):
    async with watching(url) as watch:
        at = watch.now()
        watch.api.put_job(job_item(JOB, at))
        odd = {"object": 17, "id": None}
        items = [message_item(3, at + 3), odd, message_item(1, at + 1)]
        watch.api.put_events(JOB, items)
        async with watch.polling():
            await until(lambda: watch.heard.count(MESSAGE) == 2, what="the others")
        assert watch.heard.messages(JOB) == ["e-1", "e-3"]


async def test_the_first_walk_resumes_after_a_restart_and_loses_no_job_between(
    store_url,
):
    async with watching(store_url) as watch:
        at = watch.now()
        old = [f"ftjob-old-{number:03}" for number in range(330)]
        for number, job_id in enumerate(old):
            watch.api.put_job(ended_item(job_id, at - 90_000 + number))
        # Two pages pass, the third does not.
        deep = f"GET */jobs*after={old[130]}*"
        third = watch.api.fault(deep, Fault.status(503), times=None)
        async with watch.polling():
            await until(lambda: third.hits, what="broken off at the third page")
        assert await all_known(watch, old[130:])
        assert not await all_known(watch, old[:130])
        new = [f"ftjob-new-{number:03}" for number in range(150)]
        for number, job_id in enumerate(new):
            watch.api.put_job(job_item(job_id, at + 1 + number // 10))
        third.lift()
        since = watch.api.clock.now()
        async with watch.polling():
            await until(lambda: watch.heard.count(DISCOVERED) == 150, what="found")
            await until(lambda: all_known(watch, [*old, *new]), what="all known")
        found = [event.common.id for event in watch.heard.of(kind=DISCOVERED)]
        assert sorted(found) == new
        cursors = [r.query.get("after") for r in watch.asked("*/jobs[?]*", after=since)]
        assert old[130] in cursors, "the walk began again"
        assert old[230] not in cursors, "known pages were walked again"


async def test_more_than_a_page_of_new_jobs_is_found_though_stopped_half_way(url):
    async with watching(url) as watch:
        at = watch.now()
        for number in range(30):
            watch.api.put_job(ended_item(f"ftjob-old-{number}", at - 9000 + number))
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
        new = [f"ftjob-new-{number:03}" for number in range(230)]
        for number, job_id in enumerate(new):
            watch.api.put_job(job_item(job_id, watch.now() - 230 + number))
        second = watch.api.fault("*/jobs*after=*", Fault.status(503), times=None)
        async with watch.polling():
            await until(lambda: second.hits, what="broken off")
        assert watch.heard.count(DISCOVERED) == 0, "a walk that broke off told jobs"
        second.lift()
        journal = shy(watch)
        journal.shuts_after = 1
        async with watch.polling():
            await until(lambda: journal.refused, what="stopped after one portion")
        assert 0 < watch.heard.count(DISCOVERED) < 230
        journal.shuts_after, journal.is_shut = float("inf"), False
        async with watch.polling():
            await until(lambda: watch.heard.count(DISCOVERED) == 230, what="all found")
        found = [event.common.id for event in watch.heard.of(kind=DISCOVERED)]
        assert sorted(found) == new


async def test_a_job_list_that_repeats_its_cursor_is_not_walked_for_ever(url):
    async with watching(url) as watch:
        at = watch.now()
        for number in range(130):
            watch.api.put_job(ended_item(f"ftjob-{number}", at - 9000 + number))
        watch.api.fault("GET */jobs[?]*", Fault.same_page(), times=None)
        async with watch.polling():
            await watch.passed(300)
        assert len(watch.asked("*/jobs[?]*")) < 3 * 300 / 15
