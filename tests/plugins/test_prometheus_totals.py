"""`/metrics`: what is counted over all jobs, and how many of them are shown."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from support.job_rows import job_row
from support.scraping import (
    FINISHED,
    MINI,
    Scraper,
    finished,
)
from tunewatch.model import JobStatus
from tunewatch.plugin import Count
from tunewatch_plugins.prometheus.models import ShownModels, root_model

# Aggregates -----------------------------------------------------------------------


async def test_jobs_are_counted_by_status_with_zeros(tmp_path: Path):
    rows = [job_row("a"), job_row("b"), job_row("c", "failed")]
    found = await Scraper(tmp_path, *rows).scrape()
    mine = {"base_model": MINI, "method": "supervised"}
    assert found.one("tunewatch_jobs", status="running", **mine) == 2
    assert found.one("tunewatch_jobs", status="failed", **mine) == 1
    for status in set(JobStatus) - {JobStatus.RUNNING, JobStatus.FAILED}:
        assert found.one("tunewatch_jobs", status=status.value, **mine) == 0
    assert sum(found.of("tunewatch_jobs").values()) == 3


async def test_before_the_first_job_everything_is_zero(tmp_path: Path):
    found = await Scraper(tmp_path).scrape()
    assert sum(found.of("tunewatch_jobs").values()) == 0
    assert len(found.of("tunewatch_jobs")) == len(JobStatus)
    ends = {
        labels["status"] for labels in found.labels("tunewatch_jobs_finished_total")
    }
    assert ends == {"succeeded", "failed", "cancelled"}
    assert found.one("tunewatch_jobs_hidden") == 0
    assert set(found.of("tunewatch_job_transitions_total").values()) == {0}
    assert set(found.of("tunewatch_jobs_finished_total").values()) == {0}


async def test_totals_of_the_store_are_counters_and_known_kinds_start_at_zero(
    tmp_path: Path,
):
    scraper = Scraper(tmp_path, job_row())
    scraper.jobs.totals = [finished(7, base_model="gpt-4.1", error_code="server_error")]
    found = await scraper.scrape()
    counted = {"base_model": "gpt-4.1", "method": "dpo"}
    assert found.one(FINISHED, error_code="server_error", **counted) == 7
    assert found.one(FINISHED, error_code="other", **counted) == 0
    assert found.one(FINISHED, status="succeeded", **counted) == 0
    assert found.one("tunewatch_jobs", status="running", **counted) == 0
    seen = {"base_model": MINI, "method": "supervised", "source": "research"}
    assert found.one(FINISHED, status="failed", error_code="", **seen) == 0
    types = {family.name: family.type for family in found.families}
    assert types["tunewatch_jobs_finished"] == "counter"


async def test_a_total_of_a_later_store_is_shown_too(tmp_path: Path):
    scraper = Scraper(tmp_path)
    labels = {"odd-name": "x", "type": "tunewatch.job.settled"}
    scraper.jobs.totals = [Count(name="things-seen", labels=labels, value=2)]
    found = await scraper.scrape()
    # `type` would clash with the labels that people give to targets.
    shown = {"odd_name": "x", "event_type": "tunewatch.job.settled"}
    assert found.one("tunewatch_things_seen_total", **shown) == 2


async def test_totals_of_what_is_shown_as_one_are_summed(tmp_path: Path):
    scraper = Scraper(tmp_path)
    scraper.jobs.totals = [
        finished(1, base_model=f"ft:{MINI}:org::a", error_code="bad_day"),
        finished(2, error_code="full_moon"),
        finished(4, method="orpo", error_code="full_moon"),
    ]
    found = await scraper.scrape()
    assert found.one(FINISHED, method="dpo", error_code="other") == 3
    assert found.one(FINISHED, method="other", error_code="other") == 4


async def test_a_transition_to_a_status_of_tomorrow_is_one_to_unknown(tmp_path: Path):
    scraper = Scraper(tmp_path)
    to = {"source": "research", "to": "distilling"}
    scraper.jobs.totals = [Count(name="job_transitions", labels=to, value=1)]
    found = await scraper.scrape()
    name = "tunewatch_job_transitions_total"
    assert found.one(name, source="research", to="unknown") == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
async def test_a_total_that_is_no_total_is_left_out(tmp_path: Path, bad: float):
    scraper = Scraper(tmp_path)
    scraper.jobs.totals = [finished(bad)]
    assert sum((await scraper.scrape()).of(FINISHED).values()) == 0


async def test_more_jobs_than_are_shown_are_counted_as_hidden(tmp_path: Path):
    ended = [job_row(f"ended-{n}", "succeeded") for n in range(3)]
    scraper = Scraper(tmp_path, *ended, job_row("old-but-running"), max_jobs=2)
    found = await scraper.scrape()
    shown = [labels["job_id"] for labels in found.labels("tunewatch_job_info")]
    assert shown == ["old-but-running", "ended-0"]
    assert found.one("tunewatch_jobs_hidden") == 2
    assert found.one("tunewatch_series_limit") == 2
    assert sum(found.of("tunewatch_jobs").values()) == 4


async def test_the_window_is_asked_for_as_set(tmp_path: Path):
    scraper = Scraper(tmp_path, window="5m")
    await scraper.scrape()
    assert scraper.jobs.windows[0][0] == 300


async def test_after_fifty_models_the_next_are_other(tmp_path: Path):
    rows = [job_row(f"j{n}", job={"model": f"m-{n:02}"}) for n in range(53)]
    found = await Scraper(tmp_path, *rows).scrape()
    assert found.one("tunewatch_jobs", base_model="other", status="running") == 3
    assert found.one("tunewatch_job_info", job_id="j49", base_model="m-49") == 1
    assert found.one("tunewatch_job_info", job_id="j50", base_model="other") == 1


@pytest.mark.parametrize(
    ("model", "root"),
    [
        (f"ft:{MINI}:org::id", MINI),
        (f"ft:{MINI}:org:suffix:id:ckpt-step-90", MINI),
        ("davinci:ft-org-2023-05-12", "davinci"),
        ("gpt-35-turbo-0125.ft-0ab3f80e4f22-suffix", "gpt-35-turbo-0125"),
        ("gpt-4.1-nano-2025-04-14", "gpt-4.1-nano-2025-04-14"),
        ("ft:", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_base_model_is_the_root_of_all_tuning(model: str | None, root: str):
    assert root_model(model) == root


def test_a_model_that_is_shown_keeps_its_label():
    shown = ShownModels(most=1)
    assert [shown.label(m) for m in ("a", "b", "a", "other")] == [
        "a",
        "other",
        "a",
        "other",
    ]
