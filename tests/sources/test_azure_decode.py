"""Azure's jobs, events and checkpoints as neutral facts, in words shared by all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunewatch.diff.changes import changes
from tunewatch.model import overlay
from tunewatch.sources.azure.dialect import entry_of, job_of
from tunewatch.sources.openai.decode import checkpoint_of
from tunewatch_plugins.prometheus.models import root_model

JOB: dict[str, Any] = {
    "object": "fine_tuning.job",
    "id": "ftjob-5f0c7b1a9d3e4c2f8a6b0d1e2f3a4b5c",
    "status": "running",
    "created_at": 1747468736,
    "model": "gpt-4.1-2025-04-14",
    "hyperparameters": {"n_epochs": 3, "batch_size": 4},
    "training_file": "file-2290bb28",
    "result_files": None,
    "suffix": "chart-qa",
    "estimated_finish": 1750074407,
}


def read(**fields: Any) -> Any:
    return job_of(json.dumps({**JOB, **fields}).encode())


def entry(**fields: Any) -> Any:
    item = {"object": "fine_tuning.job.event", "id": "ftevent-1", "created_at": 9}
    return entry_of(json.dumps({**item, "level": "info", **fields}).encode())


@pytest.mark.parametrize(
    "word",
    [
        *("created", "pending", "running", "pausing", "paused", "resuming"),
        *("notRunning", "canceling", "deleted", "canceled"),
    ],
)
def test_only_three_words_are_an_end(word):
    assert not read(status=word).state.is_terminal
    assert read(status=word).status == word


def test_absent_fields_are_not_said():
    job = read()
    assert (job.organization_id, job.error, job.metadata) == (None, None, None)
    assert (job.method, job.integrations, job.result_files) == (None, (), ())
    assert job.training_method == "supervised"


def test_the_suffix_and_what_only_azure_says_are_kept():
    job = read(training_type="GlobalStandard", capacity={"units": 2})
    assert job.suffix == "chart-qa"
    assert job.extra == {"training_type": "GlobalStandard", "capacity": {"units": 2}}


@pytest.mark.parametrize("minus_one", [-1, -1.0])
def test_minus_one_is_auto_wherever_hyperparameters_are(minus_one):
    given = {"n_epochs": minus_one, "batch_size": 4, "learning_rate_multiplier": 0.1}
    job = read(
        hyperparameters=given, method={"type": "dpo", "dpo": {"hyperparameters": given}}
    )
    wanted = {"n_epochs": "auto", "batch_size": 4, "learning_rate_multiplier": 0.1}
    assert job.hyperparameters == wanted
    assert job.method == {"type": "dpo", "dpo": {"hyperparameters": wanted}}


def test_auto_minus_one_and_silence_are_never_a_change():
    kept: dict[str, Any] = {}
    before = None
    for said in ("auto", -1, None, {}, "auto"):
        tuned = {"n_epochs": said} if said != {} else {}
        kept = overlay(kept, {**JOB, "hyperparameters": tuned})
        job = job_of(json.dumps(kept).encode())
        assert before is None or changes(before, job) == {}
        before = job
    decided = read(hyperparameters={"n_epochs": 3})
    assert changes(before, decided)["hyperparameters"]["after"] == {"n_epochs": 3}


def test_an_estimate_that_outlived_its_job_is_none():
    assert read().estimated_finish == 1750074407
    for status in ("succeeded", "failed", "cancelled"):
        ended = read(status=status, finished_at=1747507995)
        assert ended.estimated_finish is None


def test_levels_and_messages_without_data_are_kept_as_they_are():
    told = entry(level="warning", message="Job queued, waiting for GPUs.")
    assert (told.level, told.type, told.data) == ("warning", "message", None)
    assert told.message == "Job queued, waiting for GPUs."
    assert told.point is None


def test_a_step_with_data_is_told_by_its_data_alone():
    data = {"step": 10, "train_loss": 0.5, "train_mean_token_accuracy": 1}
    told = entry(
        type="metrics", message="Step 10: training loss=0.4999999761581421", data=data
    )
    assert (told.point.step, told.point.total_steps) == (10, None)
    assert told.point.values == {"train_loss": 0.5, "train_mean_token_accuracy": 1.0}


@pytest.mark.parametrize(
    ("text", "step", "values"),
    [
        (
            "Step 10: training loss=0.7283068299293518",
            10,
            {"train_loss": 0.7283068299293518},
        ),
        (
            "Step 8250: training loss=3.814697265625E-06",
            8250,
            {"train_loss": 3.814697265625e-06},
        ),
        (
            "Step 9: training loss=0.5, validation loss=1.5, full validation loss=1.75",
            9,
            {"train_loss": 0.5, "valid_loss": 1.5, "full_valid_loss": 1.75},
        ),
        (
            "Step 5/20 , train mean reward=0.42, full validation mean reward=0.68",
            5,
            {"train_mean_reward": 0.42, "full_valid_mean_reward": 0.68},
        ),
        ("Step 1: training loss=NaN, validation loss=2", 1, {"valid_loss": 2.0}),
    ],
)
@pytest.mark.parametrize("nothing", [{}, {"data": None}, {"data": {}}])
def test_a_step_without_data_is_read_from_its_text(text, step, values, nothing):
    told = entry(type="metrics", message=text, **nothing)
    assert (told.point.step, told.point.values) == (step, values)
    assert told.point.created_at == 9


@pytest.mark.parametrize(
    "text",
    [
        "Step 10: training loss=",
        "Step 10: training loss=NaN",
        "Step 10: something else=3",
        "Step: training loss=0.5",
        "Training tokens billed: 7223000",
        f"Step {'9' * 400}: training loss=0.5",
        "Step 10: training loss=Infinity",
        "",
    ],
)
def test_a_text_without_a_number_stays_a_text(text):
    told = entry(type="metrics", message=text)
    assert told.point is None
    assert told.message == text


def test_a_message_that_speaks_of_a_step_is_a_message():
    told = entry(type="message", message="Step 10: training loss=0.5")
    assert told.point is None


def test_a_checkpoint_has_azure_s_names_and_full_values():
    job_id = JOB["id"].removeprefix("ftjob-")
    item = {
        "id": "ftchkpt-e559c011ecc04fc68eaa339d8227d02d",
        "created_at": 1715743013,
        "fine_tuned_model_checkpoint": f"gpt-4.1.ft-{job_id}-chart-qa:ckpt-step-90",
        "fine_tuning_job_id": JOB["id"],
        "metrics": {"step": 90.0, "full_valid_loss": 1.79, "train_loss": 0.0},
        "object": "fine_tuning.job.checkpoint",
        "step_number": 90,
    }
    saved = checkpoint_of(json.dumps(item).encode())
    assert (saved.id, saved.step) == (item["id"], 90)
    assert saved.metrics == {"full_valid_loss": 1.79, "train_loss": 0.0}
    assert saved.model == item["fine_tuned_model_checkpoint"]
    assert root_model(saved.model) == "gpt-4.1"
