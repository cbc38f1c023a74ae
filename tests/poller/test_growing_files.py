"""Result files that are named early and filled as the run goes, as at Azure."""

from __future__ import annotations

import pytest

from support.served_items import ended_item, job_item, message_item, metrics_item
from support.watching import Watch, simulated, until, watching
from tunewatch.testing import Fault

JOB, FILE = "ftjob-1", "file-results"
SETTLED = "tunewatch.job.settled"
CONTENT = f"*/files/{FILE}/content*"
ACCURACY = "train_mean_token_accuracy"


@pytest.fixture
async def watch(url):
    async with watching(url, api=simulated(dialect="azure")) as opened:
        yield opened


def table(*steps: int, cut: str = "") -> bytes:
    rows = [f"{step},{1 / step},0.{step}" for step in steps]
    return "\n".join([f"step,train_loss,{ACCURACY}", *rows, cut]).encode()


def put_running(watch: Watch, **more: object) -> None:
    fields = {"result_files": [FILE], **more}
    watch.api.put_job(job_item(JOB, watch.now(), **fields))


def tell(watch: Watch, *steps: int) -> None:
    """Let events tell the training loss of these steps, and nothing more."""
    items = [metrics_item(s, watch.now(), train_loss=1 / s) for s in steps[::-1]]
    watch.api.add_events(JOB, items)


def succeed(watch: Watch) -> None:
    ended = {"status": "succeeded", "finished_at": watch.now()}
    watch.api.update_job(JOB, ended)


def values(watch: Watch) -> dict[int, dict[str, float]]:
    """Return everything told of each step; fails if a value was told twice."""
    told: dict[int, dict[str, float]] = {}
    for point in watch.heard.points(JOB):
        step = told.setdefault(point.step, {})
        assert not step.keys() & point.values.keys()
        step.update(point.values)
    return told


async def moved(watch: Watch, looks: int) -> None:
    """Let so many looks bring news."""
    for _ in range(looks):
        told = watch.heard.count("fine_tuning.event.message", JOB)
        number = len(watch.heard.messages(JOB))
        watch.api.add_events(JOB, [message_item(number, watch.now())])
        await until(
            lambda told=told: watch.heard.count("fine_tuning.event.message", JOB) > told
        )


async def test_what_events_left_out_is_filled_while_the_job_runs(watch):
    put_running(watch)
    watch.api.put_file(FILE, table(1, 10, 20), base64=False)
    tell(watch, 1, 10, 20)
    async with watch.polling():
        await until(lambda: 10 in values(watch) and ACCURACY in values(watch)[10])
        assert not watch.heard.count("fine_tuning.job.succeeded")
    told = values(watch)
    assert told[1] == {"train_loss": 1.0, ACCURACY: 0.1}
    # The last row may be half written: it counts once another stands below it.
    assert told[20] == {"train_loss": 0.05}


async def test_rows_ahead_of_the_events_are_left_to_them(watch):
    put_running(watch)
    watch.api.put_file(FILE, table(1, 10, 20, 30), base64=False)
    tell(watch, 1)
    async with watch.polling():
        await until(lambda: ACCURACY in values(watch).get(1, {}))
        assert set(values(watch)) == {1}
        tell(watch, 10, 20, 30)
        await until(lambda: 30 in values(watch))
        succeed(watch)
        await until(lambda: watch.heard.count(SETTLED), what="settled")
    assert values(watch) == {
        step: {"train_loss": 1 / step, ACCURACY: float(f"0.{step}")}
        for step in (1, 10, 20, 30)
    }


async def test_a_growing_file_is_read_again_but_not_at_every_look(watch):
    put_running(watch)
    watch.api.put_file(FILE, table(1, 10), base64=False)
    tell(watch, 1, 10)
    async with watch.polling():
        await until(lambda: ACCURACY in values(watch).get(1, {}))
        began = len(watch.asked(f"*/{JOB}/events*"))
        await moved(watch, 5)
        assert len(watch.asked(CONTENT)) == 1
        watch.api.put_file(FILE, table(1, 10, 20, 30), base64=False)
        tell(watch, 20, 30)
        await moved(watch, 18)
        await until(lambda: ACCURACY in values(watch)[20], what="the next rows")
        looks = len(watch.asked(f"*/{JOB}/events*")) - began
        assert 2 <= len(watch.asked(CONTENT)) <= 2 + looks // 10


async def test_a_quiet_job_s_file_is_not_asked_for(watch):
    put_running(watch)
    watch.api.put_file(FILE, table(1), base64=False)
    tell(watch, 1)
    async with watch.polling():
        await until(lambda: watch.asked(CONTENT))
        await watch.passed(15.0 * 25)
        assert len(watch.asked(CONTENT)) == 1


async def test_the_last_rows_may_come_after_the_end_and_none_is_lost(watch):
    put_running(watch)
    watch.api.put_file(FILE, table(1, 10), base64=False)
    tell(watch, 1, 10)
    async with watch.polling():
        await until(lambda: 10 in values(watch))
        succeed(watch)
        await until(lambda: watch.heard.count("fine_tuning.job.succeeded"))
        await watch.passed(35)
        watch.api.put_file(FILE, table(1, 10, 20, 30), base64=False)
        done = f"Completed results file: {FILE}"
        watch.api.add_events(JOB, [message_item(99, watch.now(), done)])
        await until(lambda: watch.heard.count(SETTLED), what="settled")
    assert values(watch)[30] == {"train_loss": 1 / 30, ACCURACY: 0.3}
    assert watch.heard.types(JOB)[-1] == SETTLED
    assert watch.heard.count("tunewatch.job.reopened") == 0


async def test_a_row_that_is_half_written_is_never_taken_for_a_number(watch):
    put_running(watch)
    watch.api.put_file(FILE, table(1, 10, cut="20,0.0"), base64=False)
    tell(watch, 1, 10, 20)
    async with watch.polling():
        await until(lambda: ACCURACY in values(watch).get(1, {}))
        watch.api.put_file(FILE, table(1, 10, cut="20,0.05,0."), base64=False)
        succeed(watch)
        await until(lambda: watch.heard.count("fine_tuning.job.succeeded"))
        watch.api.put_file(FILE, table(1, 10, 20, 30), base64=False)
        await until(lambda: watch.heard.count(SETTLED), what="settled")
    assert values(watch)[20] == {"train_loss": 0.05, ACCURACY: 0.2}
    assert values(watch)[30][ACCURACY] == 0.3


async def test_a_file_filled_again_with_other_values_tells_two_events(watch):
    put_running(watch)
    watch.api.put_file(FILE, table(1, 10, 20), base64=False)
    tell(watch, 1, 10, 20)
    async with watch.polling():
        await until(lambda: ACCURACY in values(watch).get(10, {}))
        more = b"step,valid_loss\n1,5\n5,4.5\n10,4\n20,3\n"
        watch.api.put_file(FILE, more, base64=False)
        await moved(watch, 12)
        await until(lambda: "valid_loss" in values(watch)[10], what="the new column")
        filled = [e for e in watch.heard.of(JOB) if e.type.endswith("event.metrics")]
    assert len({event.id for event in filled}) == len(filled)
    assert values(watch)[1] == {"train_loss": 1.0, ACCURACY: 0.1, "valid_loss": 5.0}


async def test_a_file_that_is_refused_holds_up_nothing_while_the_job_runs(watch):
    put_running(watch)
    watch.api.put_file(FILE, table(1, 10), base64=False)
    refusal = watch.api.fault(CONTENT, Fault.status(403), times=None)
    tell(watch, 1)
    async with watch.polling():
        await until(lambda: refusal.hits, what="refused")
        await moved(watch, 3)
        assert set(values(watch)) == {1}
        refusal.lift()
        tell(watch, 10)
        succeed(watch)
        await until(lambda: watch.heard.count(SETTLED), what="settled")
    assert values(watch)[10][ACCURACY] == 0.1


async def test_after_a_restart_nothing_is_filled_twice(watch):
    put_running(watch)
    watch.api.put_file(FILE, table(1, 10, 20), base64=False)
    tell(watch, 1, 10, 20)
    async with watch.polling():
        await until(lambda: ACCURACY in values(watch).get(10, {}))
    asked = len(watch.asked(CONTENT))
    async with watch.polling():
        await moved(watch, 1)
        await until(lambda: len(watch.asked(CONTENT)) > asked, what="read again")
        succeed(watch)
        await until(lambda: watch.heard.count(SETTLED), what="settled")
        asked = len(watch.asked(CONTENT))
        await watch.passed(300)
        assert len(watch.asked(CONTENT)) == asked
    assert set(values(watch)) == {1, 10, 20}


async def test_a_job_first_seen_at_its_end_is_read_until_its_file_stands_still(watch):
    fields = {"result_files": [FILE], "fine_tuned_model": "m.ft-1"}
    watch.api.put_job(ended_item(JOB, watch.now(), "succeeded", **fields))
    watch.api.put_file(FILE, table(1, 10, 20), base64=False)
    async with watch.polling() as poller:
        await until(lambda: watch.heard.count(SETTLED), what="settled")
        await until(lambda: poller.tracked == 0, what="no longer looked at")
    assert [point.step for point in watch.heard.points(JOB)] == [1, 10, 20]
    assert len(watch.asked(CONTENT)) >= 2
