"""Azure's recorded jobs, events and files, served and watched from end to end."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from support.recordings import recording
from support.served_items import ended_item, laid_over, message_item, metrics_item
from support.watching import Watch, simulated, until, watching
from tunewatch.selection import Choice, select
from tunewatch.testing import Fault
from tunewatch_plugins.best_checkpoint import Settings

SETTLED = "tunewatch.job.settled"
SUCCEEDED = "fine_tuning.job.succeeded"
DPO = "azure_dpo_gpt41mini_event_messages_newest_first.txt"
STEP = re.compile(r"Step (\d+): training loss=([\d.E+-]+)")


@pytest.fixture
async def watch(url):
    async with watching(url, api=simulated(dialect="azure"), backfill="all") as opened:
        yield opened


async def choice_of(watch: Watch, job_id: str) -> Choice:
    snapshot = await watch.store.reads.snapshot("research", job_id)
    assert snapshot is not None
    rules = Settings().rules()
    chosen = select(snapshot.job, snapshot.points, snapshot.checkpoints, rules)
    assert isinstance(chosen, Choice)
    return chosen


def told_by_step(watch: Watch, job_id: str) -> dict[int, dict[str, float]]:
    """Return what was told of each step; fails if a value was told twice."""
    told: dict[int, dict[str, float]] = {}
    for point in watch.heard.points(job_id):
        step = told.setdefault(point.step, {})
        assert not step.keys() & point.values.keys(), point
        step.update(point.values)
    return told


def made_up_messages() -> str:
    lines = [f"Step {s}: training loss={3.8e-6 * s!r}".upper() for s in (30, 20, 10, 1)]
    said = [
        line.replace("STEP", "Step").replace("TRAINING LOSS", "training loss")
        for line in lines
    ]
    return "\n".join(["Training tokens billed: 7223000", *said, "Training started."])


def dpo_events(at: int, *, with_data: bool) -> list[dict[str, Any]]:
    """Return the recorded texts as events, newest first, as their API sends them."""
    texts = [line for line in recording(DPO, made_up_messages).splitlines() if line]
    events = []
    for number, text in enumerate(texts):
        event = message_item(number, at - number, text)
        del event["data"]
        if said := STEP.fullmatch(text):
            event["type"] = "metrics"
            data = {"step": int(said[1]), "train_loss": float(said[2])}
            event |= {"data": data} if with_data else {}
        events.append(event)
    return events


@pytest.mark.parametrize("with_data", [True, False], ids=["data", "text alone"])
async def test_a_recorded_run_is_told_word_for_word_and_number_by_number(
    watch, with_data
):
    at = watch.now()
    watch.api.put_job(ended_item("ftjob-d", at - 90_000, "succeeded"))
    newest_first = dpo_events(at, with_data=with_data)
    watch.api.put_events("ftjob-d", newest_first)
    async with watch.polling():
        await until(lambda: watch.heard.count(SUCCEEDED), what="told")
    said = [event["message"] for event in newest_first[::-1]]
    messages = watch.heard.of("ftjob-d", kind="fine_tuning.event.message")
    plain = [text for text in said if not STEP.fullmatch(text)]
    assert [event.payload.message for event in messages] == plain
    steps = {int(m[1]): float(m[2]) for m in map(STEP.fullmatch, said) if m}
    told = told_by_step(watch, "ftjob-d")
    assert told == {step: {"train_loss": loss} for step, loss in steps.items()}
    points = watch.heard.points("ftjob-d")
    assert [point.step for point in points] == sorted(steps)
    assert {point.total_steps for point in points} == {None}


def made_up_job() -> str:
    return json.dumps(
        {
            "id": "ftjob-70ee3e37776e4428b20685fcd0728abb",
            "created_at": 1747468736,
            "finished_at": 1747507995,
            "estimated_finish": 1750074407,
            "fine_tuned_model": "gpt-4.1-2025-04-14.ft-70ee3e37-chart-qa",
            "model": "gpt-4.1-2025-04-14",
            "result_files": ["file-32a99fe9"],
            "status": "succeeded",
            "suffix": "chart-qa",
            "training_file": "file-2290bb28",
            "validation_file": "file-7fe46f17",
            "hyperparameters": {"n_epochs": 3},
        }
    )


def saved(step: int, job: dict[str, Any], **metrics: float) -> dict[str, Any]:
    """Return a checkpoint as Azure lists it: steps as floats, the last one unnamed."""
    last = step == 30
    model = job["fine_tuned_model"] + ("" if last else f":ckpt-step-{step}")
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": f"ftchkpt-{step:032x}",
        "created_at": job["created_at"] + step,
        "fine_tuned_model_checkpoint": model,
        "fine_tuning_job_id": job["id"],
        "metrics": {"step": float(step), **metrics},
        "step_number": step,
    }


async def test_a_recorded_job_is_told_as_it_is_and_its_best_checkpoint_chosen(watch):
    job = json.loads(recording("azure_job_object_gpt41.json", made_up_job))
    watch.api.put_job(job)
    losses = {10: 1.51, 20: 1.38, 30: 1.75}
    listed = [
        saved(step, job, full_valid_loss=loss, train_loss=0.001, valid_loss=2.0 / step)
        for step, loss in losses.items()
    ]
    watch.api.put_checkpoints(job["id"], listed[::-1])
    table = b"step,train_loss\n10,0.5\n20,0.1\n30,0.0\n"
    watch.api.put_file(job["result_files"][0], table, base64=False)
    async with watch.polling():
        await until(lambda: watch.heard.count(SETTLED), what="settled")
    (told,) = watch.heard.of(job["id"], kind=SUCCEEDED)
    shown = told.payload.job
    for name in job.keys() - {"estimated_finish", "object"}:
        assert shown[name] == job[name], name
    # It lies a month after the end: nobody is to take it for a finish to come.
    assert shown["estimated_finish"] is None
    absent = ("error", "metadata", "method", "organization_id")
    assert {name: shown[name] for name in absent} == dict.fromkeys(absent)
    assert told.created_at == job["finished_at"]
    choice = await choice_of(watch, job["id"])
    assert (choice.checkpoint.step, choice.value) == (20, 1.38)
    assert choice.checkpoint.id == listed[1]["id"]
    assert choice.checkpoint.model == f"{job['fine_tuned_model']}:ckpt-step-20"
    settled = watch.heard.of(job["id"], kind=SETTLED)[0].payload
    assert settled.duration_seconds == job["finished_at"] - job["created_at"]


def made_up_ascending() -> str:
    at = 1646126127
    texts = ("Job enqueued. Waiting for jobs ahead to complete.", "Job started.")
    events = [message_item(n, at + 40 * n, text) for n, text in enumerate(texts)]
    return json.dumps({"object": "list", "data": events, "has_more": False})


async def test_a_list_that_is_oldest_first_is_told_once_and_in_order(watch):
    name = "azure_spec_events_ascending_example.json"
    oldest_first = json.loads(recording(name, made_up_ascending))["data"]
    at = oldest_first[0]["created_at"]
    running = ended_item("ftjob-s", at, "running", finished_at=None)
    watch.api.put_job(running)
    # Served in the order given: the recorded one.
    watch.api.put_events("ftjob-s", oldest_first[:2])
    async with watch.polling():
        await until(lambda: len(watch.heard.messages("ftjob-s")) == 2)
        later = message_item(9, oldest_first[-1]["created_at"] + 9, "Job succeeded.")
        watch.api.put_events("ftjob-s", [*oldest_first[:2], later])
        await until(lambda: len(watch.heard.messages("ftjob-s")) == 3)
        await watch.passed(60)
    ids = [event["id"] for event in oldest_first[:2]]
    assert watch.heard.messages("ftjob-s") == [*ids, later["id"]]


def made_up_table() -> str:
    return (
        "step,train_loss,valid_loss\n1,10.167,8.555\n10,7.504,8.665\n19,5.732,5.265\n"
    )


async def test_a_recorded_plain_file_fills_each_step_once(watch):
    table = recording("azure_result_csv_snippet.csv", made_up_table)
    rows = {
        int(row["step"]): {k: float(v) for k, v in row.items() if k != "step"}
        for row in csv.DictReader(io.StringIO(table))
    }
    at = watch.now()
    running = {"finished_at": None, "result_files": ["file-r"]}
    watch.api.put_job(ended_item("ftjob-r", at, "running", **running))
    watch.api.put_file("file-r", table.encode(), base64=False)
    losses = [metrics_item(s, at, train_loss=rows[s]["train_loss"]) for s in rows]
    watch.api.put_events("ftjob-r", losses[::-1])
    async with watch.polling():
        first = min(rows)
        await until(lambda: told_by_step(watch, "ftjob-r").get(first) == rows[first])
        ended = {"status": "succeeded", "finished_at": watch.now()}
        watch.api.update_job("ftjob-r", ended)
        await until(lambda: watch.heard.count(SETTLED), what="settled")
    assert told_by_step(watch, "ftjob-r") == rows


@pytest.mark.parametrize("as_text", [False, True], ids=["data", "text alone"])
async def test_a_whole_simulated_life_is_told_to_its_last_word(watch, as_text):
    api = watch.api
    job = api.add_job(
        curve="overfit",
        epochs=3,
        steps=60,
        suffix="qa",
        seconds_per_step=10,
        pause_at=0.5,
        pause_for=120,
        metrics_as_text=as_text,
    )
    async with watch.polling():
        await until(lambda: watch.heard.count(SETTLED), within=60, what="settled")
    statuses = [
        event.common.status for event in watch.heard.of(job.id, kind="fine_tuning.job.")
    ]
    known = ["pending", "running", "pausing", "paused", "resuming", "running"]
    # Short ones may come and go between two looks; nothing else may be said.
    assert statuses[-1] == "succeeded"
    assert is_within(statuses[:-1], known)
    assert {"running", "paused"} <= set(statuses)
    items, count = job.entries(api.clock.now())
    told = [json.loads(item.encoded()) for item in items[:count]]
    assert watch.heard.messages(job.id) == [
        item["id"] for item in told if item["type"] == "message"
    ]
    texts = [
        event.payload.message
        for event in watch.heard.of(job.id, kind="fine_tuning.event.message")
    ]
    assert texts[-1] == f"Training tokens billed: {job.scripted.trained_tokens}"
    steps = told_by_step(watch, job.id)
    curve = job.scripted.curve
    assert set(steps) == {1, 10, 20, 30, 40, 50, 60}
    for step, values in steps.items():
        assert values == pytest.approx(curve.values(step), rel=1e-12)
    choice = await choice_of(watch, job.id)
    ends = {step: curve.values(step)["full_valid_loss"] for step in (20, 40, 60)}
    assert choice.checkpoint.step == min(ends, key=lambda step: ends[step])
    assert choice.checkpoint.model == job.scripted.model_name(choice.checkpoint.step)
    asked = watch.asked(f"*/files/{job.scripted.result_file}/content*")
    assert asked[0].simulated < job.ends_at, "it is read while the job runs"
    assert watch.heard.count("tunewatch.job.reopened") == 0


def is_within(told: list[str], known: list[str]) -> bool:
    """Whether the first is the second with some left out."""
    rest = iter(known)
    return all(word in rest for word in told)


async def test_auto_decided_is_told_and_an_odd_minus_one_later_is_not(watch):
    at = watch.now()
    fields = {"finished_at": None, "hyperparameters": {"n_epochs": -1}}
    watch.api.put_job(ended_item("ftjob-h", at, "pending", **fields))
    async with watch.polling():
        pending = "fine_tuning.job.pending"
        await until(lambda: watch.heard.count(pending), what="pending")
        said_otherwise = laid_over("auto", "ftjob-h", hyperparameters={})
        rule = watch.api.fault("GET */jobs[?]*", said_otherwise, times=3)
        await until(lambda: len(rule.hits) == 3, what="lists that say nothing of it")
        watch.api.update_job("ftjob-h", {"hyperparameters": {"n_epochs": "auto"}})
        await watch.passed(60)
        assert watch.heard.count("tunewatch.job.updated") == 0
        watch.api.update_job("ftjob-h", {"hyperparameters": {"n_epochs": 3}})
        await until(lambda: watch.heard.count("tunewatch.job.updated"), what="decided")
    (told,) = watch.heard.of("ftjob-h", kind=pending)
    assert told.payload.job["hyperparameters"] == {"n_epochs": "auto"}
    (updated,) = watch.heard.of("ftjob-h", kind="tunewatch.job.updated")
    assert updated.payload.changes == {
        "hyperparameters": {"before": {"n_epochs": "auto"}, "after": {"n_epochs": 3}}
    }


@pytest.mark.parametrize("word", ["notRunning", "created", "deprovisioning"])
async def test_a_word_nobody_knows_passes_through_and_ends_nothing(watch, word):
    at = watch.now()
    watch.api.put_job(ended_item("ftjob-w", at, word, finished_at=None))
    async with watch.polling() as poller:
        await until(lambda: watch.heard.statuses("ftjob-w"), what="told")
        await watch.passed(200)
        assert poller.tracked == 1
    (told,) = watch.heard.of("ftjob-w", kind="fine_tuning.job.")
    assert told.common.status == word
    assert watch.heard.count(SETTLED) == 0


async def test_pages_shorter_than_asked_are_read_to_the_end(watch):
    watch.api.largest_page = 7
    jobs = watch.api.put_many(
        20, steps=200, seconds_per_step=1, start=watch.now() - 900
    )
    done = watch.api.fault("GET */events*", Fault.status(429, retry_after=1), times=2)
    async with watch.polling():
        await until(
            lambda: watch.heard.count("tunewatch.job.discovered") == len(jobs),
            what="all discovered",
        )
        await until(lambda: watch.heard.count(SUCCEEDED) == len(jobs), within=60)
    assert len(done.hits) == 2
    newest = jobs[-1]
    items, count = newest.entries(watch.api.clock.now())
    told = [json.loads(item.encoded()) for item in items[:count]]
    metrics = [item["data"]["step"] for item in told if item["type"] == "metrics"]
    assert sorted(told_by_step(watch, newest.id)) == metrics
