"""The fourteen defects of `WandbLogger`, which is W&B's own way from OpenAI: none here.

Numbered as in the reference. Those that are about which jobs are told, and about what a
result file may be, are asked of a whole daemon, on an API that gives three jobs a page.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from support.program import Program
from support.running import QUICK, configure, eventually, running
from support.served_items import ended_item, message_item, metrics_item
from support.wandb_records import read
from support.wandb_server import KEY, WandbServer
from support.wandb_story import Story, account
from tunewatch.plugin import Retry
from tunewatch.testing import SimulatedApi

PAGE = 3
PLAIN = [f"ftjob-{number:02}" for number in range(PAGE + 1)]
LATE = "ftjob-late"
TABLE = "step,train_loss\n1,0.5\n2,0.25\n"
FILES = {
    "ftjob-worded": "step,train_loss,phase\n1,0.5,warm-up\n2,0.25,steady\n",
    "ftjob-stepless": "epoch,train_loss\n1,0.5\n",
    "ftjob-bare": "step,train_loss\n1,0.5\n",
}
"""Result files of jobs, by their ids; the last one reads as base64 by chance."""


@pytest.fixture(scope="module")
def synchronised(tmp_path_factory: pytest.TempPathFactory) -> WandbServer:
    """Lend what W&B has of a daemon that found old jobs, and later one more."""
    served = WandbServer()
    with served.serve():
        asyncio.run(_live(served, tmp_path_factory.mktemp("daemon")))
    return served


async def _live(served: WandbServer, home: Path) -> None:
    api = SimulatedApi(largest_page=PAGE)
    jobs = [*PLAIN, *FILES]
    for number, job in enumerate(jobs):
        _put(api, job, FILES.get(job, TABLE), age=3600 - number, b64=job in PLAIN)
    stepless = metrics_item(1, time.time() - 3500, train_loss=0.5)
    api.put_events("ftjob-stepless", [stepless])
    program = Program(home, is_cold=True)
    async with api.serve() as url:
        configure(
            program,
            f'[sources.research]\napi_key = "sk-simulated"\nbase_url = "{url}"\n'
            f'realm = "simulated"\nbackfill = "all"\n{QUICK}[plugins.wandb]\n'
            f'url = "{served.url}"\napi_key = "{KEY}"\nentity = "acme"\n',
        )
        async with running(program) as daemon:
            # What may yet get its step column is waited for, ten minutes long.
            done = [job for job in jobs if job != "ftjob-stepless"]
            await eventually(lambda: _are_closed(served, done), "all jobs are told")
            _put(api, LATE, TABLE, age=60, b64=True)
            await eventually(lambda: _are_closed(served, [LATE]), "so is the late one")
            assert await daemon.stop() == 0


def _are_closed(served: WandbServer, jobs: list[str]) -> bool:
    """Whether nothing more follows: a choice was made, or none is to be had."""
    known = [served.runs[job] for job in jobs if job in served.runs]
    over = [run for run in known if run.exits and "best/decision" in run.summary]
    return len(over) == len(jobs)


def _put(api: SimulatedApi, job: str, table: str, *, age: float, b64: bool) -> None:
    created = time.time() - age
    file = f"file-{job}"
    item = ended_item(job, created, "succeeded", result_files=[file])
    api.put_job(item)
    api.put_events(job, [message_item(1, created, of=job)])
    api.put_file(file, table.encode(), base64=b64)


def values(run: Any) -> list[tuple[int, float]]:
    return [(row["train_step"], row["train_loss"]) for row in run.rows]


async def told(sink, *deliveries):
    for delivery in deliveries:
        await sink.deliver(delivery)


async def test_1_a_failed_job_s_run_does_not_swallow_the_next_job(
    server, jobs, tmp_path
):
    bad, good = Story(jobs, "ftjob-bad"), Story(jobs, "ftjob-good")
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, bad.status("running"), bad.trained(1))
        await told(sink, bad.failed("line 3 is no JSON"), bad.settles())
        await told(sink, good.status("running"), good.trained(1, 2))
        await told(sink, good.status("succeeded"), good.settles())
    failed, succeeded = server.runs["ftjob-bad"], server.runs["ftjob-good"]
    assert (failed.points, succeeded.points) == ([1], [1, 2])
    assert failed.exits == [1]
    assert failed.summary["status"] == "failed"
    assert failed.summary["error/code"] == "invalid_data"
    assert failed.summary["error/message"] == "line 3 is no JSON"
    assert succeeded.exits == [0]
    assert succeeded.summary["status"] == "succeeded"
    assert "error/code" not in succeeded.summary


def test_2_a_job_that_w_and_b_has_already_keeps_no_other_from_being_told(synchronised):
    # It came when W&B had all others.
    assert values(synchronised.runs[LATE]) == [(1, 0.5), (2, 0.25)]
    for job in PLAIN:
        assert values(synchronised.runs[job]) == [(1, 0.5), (2, 0.25)]
        assert synchronised.runs[job].exits[-1] == 0


async def test_3_of_a_limited_number_the_newest_jobs_stay_open(server, jobs, tmp_path):
    stories = [Story(jobs, f"ftjob-{number}") for number in range(4)]
    async with account(jobs, tmp_path, server.url, max_open=2) as sink:
        for job in stories:
            await told(sink, job.status("running"), job.trained(1))
        closed = [run.name for run in server.runs.values() if run.exits]
        assert closed == ["ftjob-0", "ftjob-1"]


def test_4_jobs_beyond_the_first_page_are_told_as_well(synchronised):
    assert len(PLAIN) > PAGE
    assert set(synchronised.runs) == {*PLAIN, *FILES, LATE}


async def test_5_a_paused_job_ends_for_nobody_and_holds_nobody_up(
    server, jobs, tmp_path
):
    cancelled, paused = Story(jobs, "ftjob-c"), Story(jobs, "ftjob-p")
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, paused.trained(1), paused.status("paused"))
        await told(sink, cancelled.status("cancelled"), cancelled.settles())
        assert server.runs["ftjob-c"].exits == [255]
        assert server.runs["ftjob-p"].exits == []
    run = server.runs["ftjob-p"]
    # Closed with the plugin: to be resumed, and not ended well.
    assert run.summary["status"] == "paused"
    assert run.is_preempting
    assert run.exits == [1]
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, paused.status("running"), paused.trained(2))
        await told(sink, paused.status("succeeded"), paused.settles())
    assert run.points == [1, 2]
    assert run.exits == [1, 0]


async def test_6_a_job_that_succeeded_without_result_files_is_whole(
    server: WandbServer, jobs, tmp_path
):
    job = Story(jobs, training_file=None, validation_file=None, suffix=None)
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, job.trained(1), job.status("succeeded"), job.settles())
    run = server.runs["ftjob-one"]
    assert run.display == "ftjob-one"
    assert run.exits == [0]


def test_7_a_column_of_words_in_the_result_file_leaves_the_others(synchronised):
    run = synchronised.runs["ftjob-worded"]
    assert values(run) == [(1, 0.5), (2, 0.25)]
    assert run.exits[-1] == 0


def test_8_a_result_file_without_a_step_column_costs_only_itself(synchronised):
    run = synchronised.runs["ftjob-stepless"]
    assert values(run) == [(1, 0.5)]
    assert run.exits[-1] == 0


async def test_9_offline_there_are_artifacts_with_lineage_too(jobs, tmp_path):
    job = Story(jobs)
    async with account(jobs, tmp_path) as sink:
        await told(sink, job.status("succeeded"), job.settles(), job.selected(2, 0.5))
    made = {
        (one.name, one.type, one.use_after_commit)
        for one in read(tmp_path, "ftjob-one", "artifact")
    }
    assert made == {
        ("train-file-train", "training_files", True),
        ("valid-file-valid", "validation_files", True),
        ("support-bot-gpt-4o-mini-2024-07-18", "model", False),
    }


async def test_10_a_dpo_job_s_method_is_values_and_not_words_about_them(
    server, jobs, tmp_path
):
    job = Story(jobs, method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}})
    async with account(jobs, tmp_path, server.url) as sink:
        resolved = {"n_epochs": 3, "batch_size": 4}
        await told(sink, job.found(), job.updated(hyperparameters=resolved))
    config = server.runs["ftjob-one"].config
    assert config["method"] == {
        "type": "dpo",
        "dpo": {"hyperparameters": {"beta": 0.1}},
    }
    assert config["hyperparameters"] == {"beta": 0.1, "n_epochs": 3, "batch_size": 4}
    assert (config["seed"], config["source"]) == (7, "research")
    assert config["metadata"] == {"team": "a"}
    assert config["created_at"] == "2024-08-09T12:05:58Z"


async def test_11_the_metadata_of_a_model_are_values_and_not_words_about_them(
    server, jobs, tmp_path
):
    job = Story(jobs, hyperparameters={"batch_size": 1, "n_epochs": 3})
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, job.status("succeeded"), job.settles(), job.selected(2, 0.5))
    *_, model = (
        json.loads(one["metadata"])
        for one in server.artifacts
        if one["artifactCollectionName"] == "support-bot-gpt-4o-mini-2024-07-18"
    )
    assert model["hyperparameters"] == {"batch_size": 1, "n_epochs": 3}
    assert model["metrics"] == {"full_valid_loss": 0.5}
    assert model["step"] == 2
    assert "None" not in json.dumps(model)


async def test_12_trouble_when_asking_for_a_run_does_not_read_as_a_missing_run(
    server, jobs, tmp_path
):
    job = Story(jobs)
    async with account(jobs, tmp_path / "a", server.url) as sink:
        await sink.deliver(job.trained(1, 2, 3))
    event = job.trained(4)
    async with account(jobs, tmp_path / "b", server.url, init_timeout="1s") as sink:
        server.status = 500
        with pytest.raises(Retry):
            await sink.deliver(event)
        server.status = 200
        await sink.deliver(event)
    assert server.runs["ftjob-one"].points == [1, 2, 3, 4]


async def test_13_nothing_of_one_account_or_job_sticks_to_the_next(
    server, jobs, tmp_path
):
    one, two = Story(jobs, "ftjob-1"), Story(jobs, "ftjob-2")
    async with (
        account(jobs, tmp_path / "a", server.url, project="a", tags=["a"]) as first,
        account(jobs, tmp_path / "b", server.url, project="b") as second,
    ):
        await first.deliver(one.trained(1))
        await second.deliver(two.trained(1))
        await first.deliver(one.trained(2))
    runs = server.runs
    assert {run.name: run.project for run in runs.values()} == {
        "ftjob-1": "a",
        "ftjob-2": "b",
    }
    assert runs["ftjob-1"].points == [1, 2]
    assert "a" not in runs["ftjob-2"].tags


def test_14_a_result_file_that_could_be_base64_is_read_as_what_it_is(synchronised):
    trap = FILES["ftjob-bare"].encode()
    assert b"train_loss" not in base64.b64decode(trap), "garbage if tried first"
    assert values(synchronised.runs["ftjob-bare"]) == [(1, 0.5)]
    # As OpenAI serves them, all of it in base64.
    assert values(synchronised.runs[PLAIN[0]]) == [(1, 0.5), (2, 0.25)]
