"""Offline runs, read back record by record, and synchronised by W&B's own program."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from support.wandb_records import read, rows
from support.wandb_server import KEY, WandbServer
from support.wandb_story import Story, account
from tunewatch_plugins.wandb_run.transaction_log import (
    Reached,
    files_of,
    is_ended,
    reached,
    records,
)

MODEL = "ft:gpt-4o-mini-2024-07-18:acme:support-bot:abc"


async def whole(jobs, directory: Path) -> None:
    """Tell the whole life of a job, with a restart in between."""
    job = Story(jobs)
    async with account(jobs, directory) as sink:
        await sink.deliver(job.status("running"))
        await sink.deliver(job.trained(1, 2, 3))
        await sink.deliver(job.said("half of it"))
    async with account(jobs, directory) as sink:
        await sink.deliver(job.repeated(2, 3))
        await sink.deliver(job.trained(4, 5))
        await sink.deliver(job.status("succeeded", fine_tuned_model=MODEL))
        await sink.deliver(job.settles())
        await sink.deliver(job.selected(4, 0.25))


async def test_an_offline_run_reads_back_as_it_was_told(jobs, tmp_path):
    await whole(jobs, tmp_path)
    history = rows(tmp_path, "ftjob-one")
    assert [(row["point"], row["train_step"]) for row in history] == [
        (n, n) for n in range(1, 6)
    ]
    assert [row["train_loss"] for row in history] == [1 / n for n in range(1, 6)]
    run = read(tmp_path, "ftjob-one", "run")[0]
    assert (run.run_id, run.project) == ("ftjob-one", "fine-tuning")
    assert run.job_type == "fine-tune"
    described = read(tmp_path, "ftjob-one", "run")[-1]
    assert described.run_id == "ftjob-one"
    exits = [end.exit_code for end in read(tmp_path, "ftjob-one", "exit")]
    assert exits[-1] == 0
    axes = read(tmp_path, "ftjob-one", "metric")
    assert {axis.name or axis.glob_name for axis in axes} >= {"train_step", "*"}


async def test_artifacts_and_lineage_are_recorded_offline(jobs, tmp_path):
    await whole(jobs, tmp_path)
    made = read(tmp_path, "ftjob-one", "artifact")
    by_name = {(one.name, one.type, one.use_after_commit) for one in made}
    assert by_name == {
        ("train-file-train", "training_files", True),
        ("valid-file-valid", "validation_files", True),
        ("support-bot-gpt-4o-mini-2024-07-18", "model", False),
    }
    aliases = [set(one.aliases) for one in made if one.type == "model"]
    assert {"best", "latest", "ftjob-one"} in aliases
    contents = [entry for one in made for entry in one.manifest.contents]
    assert {entry.ref for entry in contents} >= {"openai://files/file-train"}


async def test_the_highest_point_of_earlier_parts_is_found(jobs, tmp_path):
    assert reached(tmp_path, "ftjob-one") == Reached(-1, 0)
    await whole(jobs, tmp_path)
    assert len(files_of(tmp_path, "ftjob-one")) > 1
    step, heard = reached(tmp_path, "ftjob-one")
    assert step == 5
    assert heard > 0


async def test_a_message_that_comes_again_offline_is_logged_once(jobs, tmp_path):
    job = Story(jobs)
    message = job.said("half of it")
    for _ in range(2):
        async with account(jobs, tmp_path) as sink:
            await sink.deliver(message)
    lines = [one.line for one in read(tmp_path, "ftjob-one", "output_logger")]
    assert len(lines) == 1


async def test_what_is_delivered_of_a_settled_job_is_on_disk(jobs, tmp_path):
    for number in range(10):
        job = Story(jobs, f"ftjob-{number}")
        async with account(jobs, tmp_path) as sink:
            await sink.deliver(job.trained(1))
            await sink.deliver(job.status("succeeded"))
            await sink.deliver(job.settles())
            (path,) = files_of(tmp_path, f"ftjob-{number}")
            assert is_ended(path)


async def test_a_torn_end_is_the_end(jobs, tmp_path):
    await whole(jobs, tmp_path)
    first, *_ = files_of(tmp_path, "ftjob-one")
    before = sum(1 for _ in records(first))
    first.write_bytes(first.read_bytes()[:-5])
    assert sum(1 for _ in records(first)) == before - 1
    first.write_bytes(b"no log of anybody's")
    assert list(records(first)) == []


async def test_wandb_sync_sends_all_parts_as_one_run(
    server: WandbServer, jobs, tmp_path
):
    await whole(jobs, tmp_path)
    parts = [str(path.parent) for path in files_of(tmp_path, "ftjob-one")]
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("wandb")),
        "sync",
        "--yes",
        "--entity",
        "acme",
        *parts,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("WANDB")},
            "WANDB_BASE_URL": server.url,
            "WANDB_API_KEY": KEY,
            "WANDB_ERROR_REPORTING": "false",
            "HOME": str(tmp_path),
        },
        cwd=tmp_path,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, words = await process.communicate()
    assert process.returncode == 0, words.decode()
    run = server.runs["ftjob-one"]
    assert run.points == [1, 2, 3, 4, 5]
    assert run.summary["best/step"] == 4
    assert run.display == "support-bot"
    assert "openai/fine-tuning" in run.tags


async def test_a_disabled_account_takes_everything_and_does_nothing(jobs, tmp_path):
    job = Story(jobs)
    async with account(jobs, tmp_path, mode="disabled") as sink:
        await sink.deliver(job.trained(1))
    assert list(tmp_path.iterdir()) == []
