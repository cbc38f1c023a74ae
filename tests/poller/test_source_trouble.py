"""A source that is refused, down or held back: told once, never hammered."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from support.served_items import ended_item, job_item, message_item
from support.watching import Watch, shy, until, watching
from tunewatch.settings import Secret
from tunewatch.testing import Fault

DOWN, UP = "tunewatch.source.down", "tunewatch.source.up"
LIST = "*/jobs[?]*"
DISCOVERED = "tunewatch.job.discovered"


async def told(watch: Watch, event: str, times: int = 1) -> None:
    await until(lambda: watch.heard.count(event) == times, what=event)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_told_once_and_tried_once_a_minute(url, status):
    async with watching(url) as watch:
        for number in range(10):
            watch.api.put_job(job_item(f"ftjob-{number}", watch.now()))
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            refused = watch.api.fault("*", Fault.status(status), times=None)
            await told(watch, DOWN)
            since = watch.api.clock.now()
            await watch.passed(400)
            assert len(watch.asked(after=since)) <= 7
            refused.lift()
            await told(watch, UP)
        assert [e.type for e in watch.heard.of(kind="tunewatch.source")] == [DOWN, UP]
        down, up = (e.payload for e in watch.heard.of(kind="tunewatch.source"))
        assert str(status) in down.reason
        assert up.since == down.since


async def test_a_first_walk_is_no_hot_loop_beside_a_refused_key(url):
    async with watching(url) as watch:
        at = watch.now()
        for number in range(230):
            watch.api.put_job(ended_item(f"ftjob-{number}", at - 9000 + number))
        watch.api.fault("*/jobs*", Fault.status(401), times=None, skip=2)
        async with watch.polling():
            await told(watch, DOWN)
            since = watch.api.clock.now()
            await watch.passed(400)
        assert len(watch.asked(after=since)) <= 7


async def test_a_new_key_in_its_file_is_tried_within_seconds(url, tmp_path):
    file = tmp_path / "key"
    file.write_text("sk-simulated\n")
    secret = Secret.from_file(file).get
    async with watching(url, secret=secret) as watch, watch.polling() as poller:
        await until(poller.is_caught_up.is_set, what="caught up")
        watch.api.revoke_key("sk-simulated")
        await told(watch, DOWN)
        watch.api.add_key("sk-fresh")
        file.write_text("sk-fresh\n")
        since = watch.api.clock.now()
        await told(watch, UP)
        asked = watch.api.requests.matching(key="sk-fresh")
        assert asked[0].simulated - since <= 5.0


@pytest.mark.parametrize("wait", [120, timedelta(minutes=2)], ids=["seconds", "date"])
async def test_retry_after_is_honoured_by_every_request_of_the_source(url, wait):
    async with watching(url) as watch:
        for number in range(5):
            watch.api.put_job(job_item(f"ftjob-{number}", watch.now()))
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            busy = Fault.status(429, retry_after=wait)
            once = watch.api.fault("*/events*", busy, times=1)
            await until(lambda: once.hits, what="asked to wait")
            asked = len(watch.asked())
            held = watch.api.clock.now()
            # What was on the wire already may still arrive.
            await watch.passed(100)
            assert len(watch.asked()) - asked <= 8
            assert poller.beat >= watch.clock.monotonic() - 1.0, "it reads as stuck"
            await until(lambda: len(watch.asked()) > asked + 8, what="goes on")
            assert watch.api.clock.now() - held >= 110
        assert watch.heard.count(DOWN) == 0


TROUBLES = [
    Fault.status(429),
    Fault.html(200),
    Fault.truncated(),
    Fault.reset(),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda fault: fault.name)
async def test_a_source_that_does_not_answer_is_asked_less_and_less(url, trouble):
    async with watching(url, speed=600.0) as watch:
        for number in range(10):
            watch.api.put_job(job_item(f"ftjob-{number}", watch.now()))
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            down = watch.api.fault("*", trouble, times=None)
            await told(watch, DOWN)
            since = watch.api.clock.now()
            await watch.passed(900)
            down.lift()
            later = watch.asked(after=since)
            await told(watch, UP)
        assert watch.heard.count(DOWN) == 1
        assert len(later) <= 25
        assert not [r for r in later if not r.path.endswith("/jobs")]


async def test_a_short_disturbance_is_not_told(url):
    async with watching(url) as watch:
        watch.api.put_job(job_item("ftjob-1", watch.now()))
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            flaky = watch.api.fault("*", Fault.status(502), times=4)
            await until(lambda: len(flaky.hits) == 4, what="over")
            asked = len(watch.asked())
            await until(lambda: len(watch.asked()) > asked + 5, what="goes on")
        assert watch.heard.count(DOWN) == watch.heard.count(UP) == 0


async def test_a_restart_while_a_source_is_down_tells_nothing_twice(store_url):
    async with watching(store_url, speed=600.0) as watch:
        async with watch.polling() as poller:
            await until(poller.is_caught_up.is_set, what="caught up")
            down = watch.api.fault("*", Fault.status(503), times=None)
            await told(watch, DOWN)
        async with watch.polling():
            await watch.passed(600)
        assert watch.heard.count(UP) == 0
        assert watch.heard.count(DOWN) == 1
        down.lift()
        async with watch.polling():
            await told(watch, UP)
            await watch.passed(200)
        assert watch.heard.count(DOWN) == watch.heard.count(UP) == 1


async def test_a_source_that_is_down_harms_no_other(url):
    keys = ["sk-other"]
    async with (
        watching(url) as watch,
        watching(url, beside=watch, name="other", keys=keys) as other,
    ):
        watch.api.project("second", keys)
        refused = watch.api.fault("*", Fault.status(500), times=None, key="sk-other")
        watch.api.put_job(job_item("ftjob-1", watch.now()))
        async with watch.polling(), other.polling():
            await told(watch, DISCOVERED)
            since = watch.api.clock.now()
            await watch.passed(300)
        mine = watch.api.requests.matching(key="sk-simulated")
        looks = [r for r in mine if r.simulated >= since and "events" in r.path]
        assert len(looks) >= 12
        assert refused.hits


async def test_two_keys_of_one_project_double_nothing_and_warn_once(url):
    with capture_logs() as logs:
        async with (
            watching(url) as watch,
            watching(url, beside=watch, name="twin", keys=["sk-twin"]) as twin,
        ):
            watch.api.add_key("sk-twin")
            for number in range(12):
                watch.api.put_job(ended_item(f"ftjob-{number}", watch.now()))
            async with watch.polling(), twin.polling():
                await told(watch, "tunewatch.job.settled", times=12)
                await watch.passed(100)
    assert watch.heard.count(DISCOVERED) == 12
    assert watch.heard.count("fine_tuning.job.failed") == 12
    owners = {event.common.source for event in watch.heard.of(kind="tunewatch.job")}
    warned = [log for log in logs if log["event"] == "poll.owned_by_another_source"]
    assert len(warned) == len({log["source"] for log in warned})
    # Each job belongs to whoever saw it first: with one winner the other warns.
    assert warned or len(owners) == 2


async def test_polling_waits_for_the_store_and_loses_nothing(store_url):
    async with watching(store_url) as watch:
        journal = shy(watch)
        watch.api.put_job(job_item("ftjob-1", watch.now()))
        async with watch.polling() as poller:
            await told(watch, "fine_tuning.job.running")
            journal.is_shut = True
            ids = []
            for number in range(5):
                watch.api.add_events("ftjob-1", [message_item(number, watch.now())])
                ids.append(f"e-{number}")
            await until(lambda: journal.refused > 2, what="refused")
            assert poller.paused_reason == "the disk is full"
            asked = len(watch.asked("*/ftjob-1*"))
            await watch.passed(60)
            assert len(watch.asked("*/ftjob-1*")) == asked, "it polls for the bin"
            assert poller.beat >= watch.clock.monotonic() - 1.0, "it reads as stuck"
            journal.is_shut = False
            await told(watch, "fine_tuning.event.message", times=5)
            await until(lambda: poller.paused_reason is None, what="goes on")
        assert watch.heard.messages("ftjob-1") == ids


async def test_malformed_items_are_said_once_and_cost_no_other(url):
    with capture_logs() as logs:
        async with watching(url) as watch:
            watch.api.put_job(job_item("ftjob-1", watch.now()))
            watch.api.put_job({"id": "ftjob-odd", "created_at": watch.now()})
            async with watch.polling():
                await told(watch, "fine_tuning.job.running")
                await watch.passed(150)
    assert [log["event"] for log in logs].count("poll.malformed_job") == 1
    assert watch.heard.count(DISCOVERED) == 1


async def test_back_off_spreads_the_tries_of_a_job(url):
    async with watching(url, speed=600.0) as watch:
        watch.api.put_job(job_item("ftjob-1", watch.now()))
        watch.api.put_job(job_item("ftjob-2", watch.now()))
        failing = watch.api.fault("*/ftjob-1/events*", Fault.status(500), times=None)
        async with watch.polling():
            await until(lambda: len(failing.hits) >= 7, what="seven tries")
        times = [r.simulated for r in watch.asked("*/ftjob-1/events*")]
        gaps = [b - a for a, b in pairwise(times)]
        assert min(gaps) >= 7.0
        assert max(gaps) > 20.0
