"""Real numbers: recorded jobs, curves and files, served and watched from end to end.

The recordings lie beside the project; where they are not, numbers made here stand in.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from support.recordings import recording
from support.served_items import checkpoint_item, ended_item, metrics_item
from support.watching import Watch, until, watching
from tunewatch.model import Snapshot
from tunewatch.selection import Choice, NoChoice, select
from tunewatch_plugins.best_checkpoint import Settings

SETTLED = "tunewatch.job.settled"
ACCURACY = "train_mean_token_accuracy"
"""What result files call `train_accuracy`."""


def made_up_curve(steps: int, *, best: int | None = None, zeros: int = 0) -> str:
    """Return a result file; the validation loss is smallest at the step `best`."""
    lines = ["step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"]
    for step in range(1, steps + 1):
        loss = 0.0 if step > steps - zeros else round(2.0 / step, 5)
        valid = "" if best is None else round(0.2 + abs(step - best) / 100, 5)
        lines.append(f"{step},{loss},{0.5},{valid},{'' if best is None else 0.5}")
    return "\n".join(lines) + "\n"


def rows_of(table: str) -> dict[int, dict[str, float]]:
    """Return what a person reads in a result file: step, and every number there."""
    return {
        int(row["step"]): {
            {"train_accuracy": ACCURACY}.get(name, name): float(cell)
            for name, cell in row.items()
            if name != "step" and cell
        }
        for row in csv.DictReader(io.StringIO(table))
    }


async def watched(watch: Watch, job_id: str) -> Snapshot:
    """Watch a job until it is settled; return what is known of it then."""
    async with watch.polling():
        await until(lambda: watch.heard.count(SETTLED, job_id), what="settled")
    snapshot = await watch.store.reads.snapshot("research", job_id)
    assert snapshot is not None
    return snapshot


def chosen(snapshot: Snapshot, **settings: Any) -> Choice | NoChoice:
    """Return what the plugin's settings choose."""
    rules = Settings(**settings).rules()
    return select(snapshot.job, snapshot.points, snapshot.checkpoints, rules)


def told_by_step(watch: Watch, job_id: str) -> dict[int, dict[str, float]]:
    told: dict[int, dict[str, float]] = {}
    for point in watch.heard.points(job_id):
        told.setdefault(point.step, {}).update(point.values)
    return told


FILES: dict[str, Callable[[], str]] = {
    "result_csv_bptlab_robot_100steps_novalid.csv": lambda: made_up_curve(99),
    "result_csv_nmapai_138steps_novalid.csv": lambda: made_up_curve(138, zeros=35),
    "result_csv_jobgpt_90steps_novalid.csv": lambda: made_up_curve(90),
    "result_csv_nlbse.csv": lambda: made_up_curve(1500, zeros=555),
    "result_csv_genset_v1_valid_every_step.csv": lambda: made_up_curve(85, best=75),
    "azure_result_csv_snippet.csv": lambda: made_up_curve(3, best=3),
}


@pytest.mark.parametrize("name", FILES)
async def test_events_say_what_a_result_file_says_step_by_step(url, name):
    table = recording(name, FILES[name])
    async with watching(url) as watch:
        done = ended_item("ftjob-r", watch.now(), "succeeded", result_files=["file-r"])
        watch.api.put_job(done)
        watch.api.put_file("file-r", table.encode(), base64="azure" not in name)
        snapshot = await watched(watch, "ftjob-r")
        told = watch.heard.points("ftjob-r")
    rows = rows_of(table)
    assert {point.step: point.values for point in told} == rows
    assert [point.n for point in told] == list(range(1, len(rows) + 1))
    assert {point.step: point.values for point in snapshot.points} == rows
    zeros = [step for step, row in rows.items() if row["train_loss"] == 0.0]
    said = [p.step for p in snapshot.points if p.values["train_loss"] == 0.0]
    assert said == zeros
    assert isinstance(chosen(snapshot), NoChoice)


async def test_a_curve_validated_at_every_step_is_cut_where_a_person_would_cut_it(url):
    name = "result_csv_genset_v1_valid_every_step.csv"
    rows = rows_of(recording(name, FILES[name]))
    best = min(rows, key=lambda step: rows[step]["valid_loss"])
    steps = sorted({17, 34, 51, 68, best, 85})
    async with watching(url) as watch:
        at = watch.now()
        watch.api.put_job(ended_item("ftjob-g", at, "succeeded", result_files=["f"]))
        table = recording(name, FILES[name])
        watch.api.put_file("f", table.encode())
        newest_first = [checkpoint_item(step, at, "ftjob-g") for step in steps[::-1]]
        watch.api.put_checkpoints("ftjob-g", newest_first)
        snapshot = await watched(watch, "ftjob-g")
    # Mini-batch losses are no reason to choose, unless somebody asked for that.
    nothing = chosen(snapshot)
    assert isinstance(nothing, NoChoice)
    assert nothing.reason == "no_full_metric"
    asked_for = chosen(snapshot, fallback="smoothed_valid_loss", window=3)
    assert isinstance(asked_for, Choice)
    assert asked_for.checkpoint.step == best == 75


async def test_full_values_at_every_step_choose_the_minimum_of_the_curve(url):
    name = "result_csv_genset_v1_valid_every_step.csv"
    rows = rows_of(recording(name, FILES[name]))
    best = min(rows, key=lambda step: rows[step]["valid_loss"])
    async with watching(url) as watch:
        at = watch.now()
        watch.api.put_job(ended_item("ftjob-g", at, "succeeded", result_files=["f"]))
        watch.api.put_file("f", recording(name, FILES[name]).encode())
        events = [
            metrics_item(step, at + step, full_valid_loss=row["valid_loss"])
            for step, row in rows.items()
        ]
        watch.api.put_events("ftjob-g", events[::-1])
        listed = [checkpoint_item(step, at, "ftjob-g") for step in sorted(rows)[::-1]]
        watch.api.put_checkpoints("ftjob-g", listed)
        snapshot = await watched(watch, "ftjob-g")
    choice = chosen(snapshot)
    assert isinstance(choice, Choice)
    assert (choice.checkpoint.step, choice.value) == (best, rows[best]["valid_loss"])
    assert best == 75


def made_up_run() -> str:
    """Return a run like the recorded one: the last epoch's end is the best."""
    events = [
        metrics_item(step, 1_723_207_600 + step, full_valid_loss=0.3 / step)
        for step in (1, 2, 3)
    ]
    job_id = "ftjob-made-up"
    listed = [checkpoint_item(step, 1_723_207_600, job_id) for step in (3, 2, 1)]
    return json.dumps(
        {
            "job1_create_response": ended_item(job_id, 1_723_205_158),
            "job1_final_delta": {"status": "succeeded", "finished_at": 1_723_208_013},
            "job1_events_limit10_newest_first": {"data": events[::-1]},
            "job1_checkpoints": {"data": listed},
        }
    )


async def test_a_recorded_run_is_told_word_for_word(url):
    name = "openai_sft_gpt4omini_events_checkpoints_pinolo.json"
    run = json.loads(recording(name, made_up_run))
    job = {**run["job1_create_response"], **run["job1_final_delta"]}
    job_id = job["id"]
    served = [
        event
        for event in run["job1_events_limit10_newest_first"]["data"]
        if isinstance(event, dict) and "id" in event
    ]
    listed = [item for item in run["job1_checkpoints"]["data"] if "id" in item]
    async with watching(url, backfill="all") as watch:
        watch.api.put_job(job)
        watch.api.put_events(job_id, served)
        watch.api.put_checkpoints(job_id, listed)
        for file_id in job["result_files"]:
            watch.api.put_file(file_id, made_up_curve(1).encode())
        snapshot = await watched(watch, job_id)
        heard = watch.heard
    messages = [event for event in served if event["type"] == "message"]
    assert heard.messages(job_id) == _by_time(messages)
    told = told_by_step(watch, job_id)
    for event in served:
        if event["type"] == "metrics":
            said = {k: v for k, v in event["data"].items() if "step" not in k}
            assert told[event["data"]["step"]].items() >= said.items()
    created = heard.of(job_id, kind="fine_tuning.checkpoint.created")
    rising = sorted(item["step_number"] for item in listed)
    assert [e.payload.checkpoint["step_number"] for e in created] == rising
    assert all(event.common.backfilled for event in created)
    # Only the last step has a value over the whole set: it is the only candidate,
    # however small the mini-batch losses before it are.
    choice = chosen(snapshot)
    assert isinstance(choice, Choice)
    assert choice.checkpoint.step == rising[-1]
    assert choice.value == told[rising[-1]]["full_valid_loss"]


def _by_time(newest_first: list[dict[str, Any]]) -> list[str]:
    rising = newest_first[::-1]
    rising.sort(key=lambda event: event["created_at"])
    return [event["id"] for event in rising]


def made_up_reward() -> str:
    data = {"step": 10, "total_steps": 20, "full_valid_mean_reward": 0.675}
    return json.dumps({**metrics_item(10, 1_746_679_539), "data": data})


async def test_recorded_rewards_choose_the_highest(url):
    event = json.loads(recording("rft_metrics_event_docs.json", made_up_reward))
    step, reward = event["data"]["step"], event["data"]["full_valid_mean_reward"]
    async with watching(url, backfill="all") as watch:
        at = watch.now() - 9000
        method = {"type": "reinforcement"}
        watch.api.put_job(ended_item("ftjob-q", at, "cancelled", method=method))
        worse = [
            metrics_item(other, at + other, full_valid_mean_reward=reward - 0.2)
            for other in (step - 5, step + 5)
        ]
        watch.api.put_events("ftjob-q", [worse[1], event, worse[0]])
        steps = [step + 5, step, step - 5]
        listed = [checkpoint_item(other, at, "ftjob-q") for other in steps]
        watch.api.put_checkpoints("ftjob-q", listed)
        snapshot = await watched(watch, "ftjob-q")
        told = told_by_step(watch, "ftjob-q")[step]
    choice = chosen(snapshot)
    assert isinstance(choice, Choice)
    assert (choice.checkpoint.step, choice.value) == (step, reward)
    assert choice.goal == "maximize"
    flat = {k: v for k, v in event["data"].items() if isinstance(v, float)}
    assert told.items() >= flat.items()
