"""What was recorded of real APIs is read as it was meant.

The recordings lie beside the project; where they are not, excerpts stand alone.
"""

from __future__ import annotations

import json
from typing import Any

from support.recordings import PAYLOADS
from tunewatch.sources.azure.dialect import job_of as azure_job
from tunewatch.sources.openai.decode import checkpoint_of, entry_of, job_of
from tunewatch.sources.openai.pages import read_page
from tunewatch.sources.openai.result_file import read_result_file

AZURE_JOB = {
    "id": "ftjob-70ee",
    "status": "succeeded",
    "estimated_finish": 1750074407,
    "finished_at": 1747507995,
    "suffix": "chart-qa",
}
RFT_EVENT = {
    "id": "ftevent-1",
    "type": "metrics",
    "created_at": 1746679539,
    "data": {
        "step": 10,
        "total_steps": 20,
        "full_valid_mean_reward": 0.675,
        "scores": {
            "train_reward_mean": 0.4215686274509804,
            "graders": [{"name": "basic_model_grader", "valid_reward_mean": 0.675}],
        },
    },
}
CSV = b"step,train_loss,train_accuracy\n1,0.59300,0.80000\n"


def recorded(name: str, otherwise: bytes) -> bytes:
    """Return a recording, or its excerpt where there are no recordings."""
    path = PAYLOADS / name
    return path.read_bytes() if path.is_file() else otherwise


def test_a_real_azure_job_is_read() -> None:
    read = azure_job(
        recorded("azure_job_object_gpt41.json", json.dumps(AZURE_JOB).encode())
    )
    assert read.status == "succeeded"
    assert read.suffix
    assert read.finished_at == 1747507995
    assert read.estimated_finish is None
    assert read.error is None
    assert read.training_method == "supervised"


def test_a_documented_reinforcement_event_is_a_point() -> None:
    read = entry_of(
        recorded("rft_metrics_event_docs.json", json.dumps(RFT_EVENT).encode())
    )
    assert read.point is not None
    assert (read.point.step, read.point.total_steps) == (10, 20)
    values = read.point.values
    assert values["full_valid_mean_reward"] == 0.675
    assert values["train_mean_reward"] == 0.4215686274509804
    assert values["scores.graders.basic_model_grader.valid_reward_mean"] == 0.675


def test_real_events_and_checkpoints_are_read() -> None:
    excerpt: dict[str, Any] = {"list": {"data": [RFT_EVENT], "has_more": False}}
    pages = json.loads(
        recorded(
            "openai_sft_gpt4omini_events_checkpoints_pinolo.json",
            json.dumps(excerpt).encode(),
        )
    )
    lists = [
        each for each in pages.values() if isinstance(each, dict) and "data" in each
    ]
    assert lists
    for each in lists:
        items = [item for item in each["data"] if isinstance(item, dict)]
        checkpoints = any("step_number" in item for item in items)
        page = read_page(
            json.dumps({**each, "data": items}).encode(),
            checkpoint_of if checkpoints else entry_of,
            after=None,
            limit=100,
        )
        assert page.count == len(items)
        assert page.malformed == sum("id" not in item for item in items)


def test_every_real_result_file_is_read_row_by_row() -> None:
    files = sorted(PAYLOADS.glob("*result_csv*.csv"))
    bodies = [path.read_bytes() for path in files] or [CSV]
    for body in bodies:
        points, malformed = read_result_file(body)
        rows = [line for line in body.splitlines()[1:] if line.strip()]
        assert (len(points), malformed) == (len(rows), 0)
        assert all("train_loss" in point.values for point in points)
        assert all("train_accuracy" not in point.values for point in points)


def test_exact_zeros_of_a_real_file_stay_zeros() -> None:
    body = recorded("result_csv_nlbse.csv", b"step,train_loss\n" + b"1,0.0\n")
    points, _ = read_result_file(body)
    zeros = sum(point.values["train_loss"] == 0.0 for point in points)
    assert zeros == sum(line.split(b",")[1] == b"0.0" for line in body.splitlines())
    assert zeros


def test_other_recorded_jobs_and_events_are_read() -> None:
    succeeded = job_of(
        recorded(
            "openai_job_succeeded_gpt41nano_docs.json",
            b'{"id": "ftjob-u", "status": "succeeded", "error": {}}',
        )
    )
    assert (succeeded.status, succeeded.error) == ("succeeded", None)
    old = entry_of(
        recorded(
            "openai_event_2023_php_fixture.json",
            b'{"id": "e", "type": "metrics", "data": {"step": 99, "train_loss": 0.1}}',
        )
    )
    assert old.point is not None
    assert (old.point.step, old.point.total_steps) == (99, None)
