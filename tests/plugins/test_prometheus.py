"""`/metrics`: which series a job has, and what is never shown."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from support.job_rows import BEGAN, job_row, selection
from support.readers import HandmadeJobs, lent_context
from support.scraping import (
    MINI,
    Scraper,
    is_of_a_job,
)
from tunewatch.events import CheckpointUnselected
from tunewatch.model import JobStatus, Selection
from tunewatch_plugins.prometheus import PLUGIN, Settings

# Beginning and end ----------------------------------------------------------------


async def test_a_scrape_in_the_moment_of_a_stop_is_told_to_come_again(tmp_path: Path):
    context = lent_context(HandmadeJobs(), tmp_path)
    async with PLUGIN.open(Settings(), context) as view:
        (route,) = view.routes()
        assert (await route.respond({})).status == 200
    assert (await route.respond({})).status == 503


# Per job --------------------------------------------------------------------------


async def test_every_number_of_a_job_has_its_series(tmp_path: Path):
    row = job_row(job={"estimated_finish": BEGAN + 999}, selection=selection())
    found = await Scraper(tmp_path, row).scrape()
    who = {"source": "research", "job_id": "ftjob-1"}
    expected = {
        "created_timestamp_seconds": BEGAN,
        "started_timestamp_seconds": BEGAN + 60,
        "estimated_finish_timestamp_seconds": BEGAN + 999,
        "status_changed_timestamp_seconds": BEGAN + 60,
        "last_event_timestamp_seconds": BEGAN + 600,
        "step": 150,
        "expected_steps": 300,
        "epoch": 1.5,
        "trained_tokens": 379446,
        "train_loss": 0.25,
        "valid_loss": 0.5,
        "full_valid_loss": 0.0531,
        "train_token_accuracy_ratio": 0.875,
        "valid_token_accuracy_ratio": 0.75,
        "full_valid_token_accuracy_ratio": 0.67,
        "best_checkpoint_full_valid_loss": 0.053,
        "best_checkpoint_step": 200,
    }
    for name, value in expected.items():
        assert found.of(f"tunewatch_job_{name}") == {frozenset(who.items()): value}
    assert found.one("tunewatch_job_best_checkpoint_value", metric="full_valid_loss")
    assert "tunewatch_job_finished_timestamp_seconds" not in found.text


async def test_rewards_of_reinforcement_have_theirs(tmp_path: Path):
    latest = {"train_mean_reward": 0.42, "full_valid_mean_reward": 0.675}
    nested = {"scores.train_reward_mean": 0.4}
    found = await Scraper(
        tmp_path,
        job_row("a", latest=latest),
        job_row("b", latest=nested, selection=selection(0.7, "full_valid_mean_reward")),
    ).scrape()
    assert found.one("tunewatch_job_train_mean_reward", job_id="a") == 0.42
    assert found.one("tunewatch_job_train_mean_reward", job_id="b") == 0.4
    assert found.one("tunewatch_job_full_valid_mean_reward", job_id="a") == 0.675
    best = found.one("tunewatch_job_best_checkpoint_value", job_id="b")
    assert best == 0.7
    assert not found.of("tunewatch_job_best_checkpoint_full_valid_loss")


async def test_a_job_has_every_status_and_one_of_them_is_one(tmp_path: Path):
    found = await Scraper(tmp_path, job_row(status="queued")).scrape()
    by_status = {
        labels["status"]: found.one("tunewatch_job_status", **labels)
        for labels in found.labels("tunewatch_job_status")
    }
    assert by_status == {s.value: float(s.value == "queued") for s in JobStatus}


async def test_a_status_of_tomorrow_is_unknown(tmp_path: Path):
    found = await Scraper(tmp_path, job_row(status="distilling")).scrape()
    assert found.one("tunewatch_job_status", status="unknown") == 1
    assert found.one("tunewatch_jobs", status="unknown", base_model=MINI) == 1


async def test_sparse_status_shows_the_one_only(tmp_path: Path):
    found = await Scraper(tmp_path, job_row(), sparse_status=True).scrape()
    assert [s["status"] for s in found.labels("tunewatch_job_status")] == ["running"]


async def test_names_of_a_job_are_on_its_info_only(tmp_path: Path):
    row = job_row(
        job={
            "model": f"ft:{MINI}:org::earlier",
            "metadata": {"team": "search", "cost center": "7", "secret": "x"},
            "organization_id": "org-1",
            "extra": {"project_id": "proj_1"},
        },
        selection=selection(),
    )
    scraper = Scraper(tmp_path, row, metadata_labels=("team", "cost center", "absent"))
    found = await scraper.scrape()
    assert found.labels("tunewatch_job_info") == [
        {
            "source": "research",
            "job_id": "ftjob-1",
            "realm": "openai",
            "base_model": MINI,
            "model": f"ft:{MINI}:org::earlier",
            "method": "supervised",
            "suffix": "pinolo",
            "fine_tuned_model": "",
            "organization_id": "org-1",
            "project_id": "proj_1",
            "metadata_team": "search",
            "metadata_cost_center": "7",
            "metadata_absent": "",
        }
    ]
    extra = {"info", "status", "best_checkpoint_value", "best_checkpoint_info"}
    for name, labels in found.samples:
        short = name.removeprefix("tunewatch_job_")
        if is_of_a_job(labels) and short not in extra:
            assert {key for key, _ in labels} == {"source", "job_id"}
    best = found.labels("tunewatch_job_best_checkpoint_info")[0]
    assert best["checkpoint_id"] == "ftckpt-200"
    assert best["decision"] == "provisional"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
async def test_a_value_that_is_no_number_is_left_out(tmp_path: Path, bad: float):
    row = job_row(latest={"train_loss": bad}, selection=selection(bad))
    found = await Scraper(tmp_path, row).scrape()
    assert not found.of("tunewatch_job_train_loss")
    assert not found.of("tunewatch_job_best_checkpoint_value")
    assert all(math.isfinite(value) for value in found.samples.values())


async def test_what_nobody_said_is_left_out_not_zero(tmp_path: Path):
    row = job_row(
        job={"trained_tokens": None, "created_at": None},
        latest={},
        step=None,
        total_steps=None,
        started_at=None,
        status_changed_at=None,
        last_event_at=None,
    )
    found = await Scraper(tmp_path, row).scrape()
    names = {name for name, labels in found.samples if is_of_a_job(labels)}
    assert names == {"tunewatch_job_info", "tunewatch_job_status"}


async def test_a_number_beyond_what_prometheus_can_read_is_left_out(tmp_path: Path):
    row = job_row(job={"trained_tokens": 10**400})
    found = await Scraper(tmp_path, row).scrape()
    assert not found.of("tunewatch_job_trained_tokens")


async def test_an_exact_zero_is_shown(tmp_path: Path):
    found = await Scraper(tmp_path, job_row(latest={"valid_loss": 0.0})).scrape()
    assert found.one("tunewatch_job_valid_loss") == 0


async def test_a_job_that_failed_without_a_time_ended_when_it_was_seen(tmp_path: Path):
    row = job_row(status="failed", status_changed_at=BEGAN + 5)
    found = await Scraper(tmp_path, row).scrape()
    assert found.one("tunewatch_job_finished_timestamp_seconds") == BEGAN + 5


async def test_an_estimate_left_behind_after_the_end_is_not_shown(tmp_path: Path):
    ended = {"finished_at": BEGAN + 9, "estimated_finish": BEGAN + 2_592_000}
    found = await Scraper(tmp_path, job_row(status="succeeded", job=ended)).scrape()
    assert not found.of("tunewatch_job_estimated_finish_timestamp_seconds")
    assert found.one("tunewatch_job_finished_timestamp_seconds") == BEGAN + 9


@pytest.mark.parametrize("epochs", ["auto", -1, None])
async def test_epochs_that_the_provider_decides_are_not_guessed(
    tmp_path: Path, epochs: Any
):
    row = job_row(job={"hyperparameters": {"n_epochs": epochs}})
    found = await Scraper(tmp_path, row).scrape()
    assert not found.of("tunewatch_job_epoch")


async def test_epochs_are_read_from_the_method_too(tmp_path: Path):
    method = {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 4}}}
    row = job_row(job={"method": method, "hyperparameters": None})
    found = await Scraper(tmp_path, row).scrape()
    assert found.one("tunewatch_job_epoch") == 2


async def test_a_job_without_a_choice_has_no_best_series(tmp_path: Path):
    data = {"reason": "no_candidate", "detail": "No checkpoint is listed."}
    none = Selection(
        type=CheckpointUnselected.TYPE, event_id="e", created_at=1, data=data
    )
    found = await Scraper(tmp_path, job_row(selection=none)).scrape()
    assert "best_checkpoint" not in found.text


async def test_series_follow_the_state_and_nothing_lingers(tmp_path: Path):
    scraper = Scraper(tmp_path, job_row("a", step=1), job_row("b"))
    assert (await scraper.scrape()).one("tunewatch_job_step", job_id="a") == 1
    scraper.jobs.rows = [job_row("a", step=2)]
    after = await scraper.scrape()
    assert after.one("tunewatch_job_step") == 2
    assert "ftjob-b" not in after.text


async def test_others_get_their_turn_while_many_jobs_are_rendered(tmp_path: Path):
    rows = [job_row(f"j{n}") for n in range(2000)]
    scraper = Scraper(tmp_path, *rows, max_jobs=2000)
    turns = 0

    async def others(done: asyncio.Event) -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(others(done), name="others")
        await scraper.metrics.respond({})
        done.set()
    assert turns >= 20


# Settings -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("200ms", 0.2), ("15s", 15), ("5m", 300), ("2h", 7200), ("30d", 2_592_000)],
)
def test_a_window_is_written_as_a_duration(written: str, seconds: float):
    assert Settings.model_validate({"window": written}).window == seconds


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": "1 fortnight"},
        {"window": 5},
        {"window": "-5s"},
        {"max_jobs": 0},
        {"prices": {"gpt-4.1": -1}},
        {"prices": {"gpt-4.1": "25 $"}},
        {"windows": "1h"},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


async def test_the_plugin_opens_as_a_view_of_one_path(tmp_path: Path):
    context = lent_context(HandmadeJobs(), tmp_path)
    async with PLUGIN.open(PLUGIN.settings(), context) as view:
        assert [route.path for route in view.routes()] == ["/metrics"]
    assert PLUGIN.events == ()
    assert PLUGIN.settings().window == 3600
