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
from tunewatch_plugins.prometheus.models import ShownModels

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


async def test_totals_of_every_source_here_are_there_before_the_first_job(
    tmp_path: Path,
):
    scraper = Scraper(tmp_path)
    scraper.jobs.names = ("research", "support")
    found = await scraper.scrape()
    for source in ("research", "support"):
        for name, labels in (
            ("events", {"event_type": "tunewatch.job.settled"}),
            ("events", {"event_type": "fine_tuning.job.failed"}),
            ("jobs_discovered", {}),
            ("job_transitions", {"to": "failed"}),
            ("jobs_finished", {"status": "failed", "error_code": "server_error"}),
            ("unknown_values", {"kind": "status"}),
        ):
            assert found.one(f"tunewatch_{name}_total", source=source, **labels) == 0


async def test_a_job_that_goes_on_gives_birth_to_its_kinds_totals(tmp_path: Path):
    found = await Scraper(tmp_path, job_row()).scrape()
    kind = {"source": "research", "base_model": MINI, "method": "supervised"}
    assert found.one("tunewatch_trained_tokens_total", **kind) == 0
    assert found.one(FINISHED, status="failed", error_code="", **kind) == 0
    for end in ("succeeded", "failed", "cancelled"):
        for name in ("job_duration_seconds", "job_queue_seconds"):
            count = f"tunewatch_{name}_count"
            assert found.one(count, status=end, **kind) == 0


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


async def test_tokens_are_counted_by_kind_and_cost_nothing_without_a_price(
    tmp_path: Path,
):
    scraper = Scraper(tmp_path)
    scraper.jobs.totals = [tokens(2_000_000), tokens(500_000, base_model="o4-mini")]
    found = await scraper.scrape()
    trained = "tunewatch_trained_tokens_total"
    assert found.one(trained, base_model=MINI, method="supervised") == 2_000_000
    assert "cost" not in found.text


async def test_tokens_cost_what_the_user_says(tmp_path: Path):
    prices = {"gpt-4o-mini": 3, "gpt-4.1-2025-04-14": 25, "gpt-3.5-turbo": 8}
    scraper = Scraper(
        tmp_path, job_row(job={"model": "gpt-3.5-turbo-0125"}), prices=prices
    )
    scraper.jobs.totals = [
        tokens(2_000_000),
        tokens(100_000, base_model="gpt-4.1-2025-04-14", method="dpo"),
        tokens(900, base_model="gpt-4.1-mini-2025-04-14"),
        tokens(700, method="reinforcement"),
    ]
    found = await scraper.scrape()
    cost = "tunewatch_estimated_cost_dollars_total"
    # A date may be left out, nothing else; the hours of reinforcement nobody knows.
    assert {
        dict(labels)["base_model"]: value for labels, value in found.of(cost).items()
    } == {MINI: 6, "gpt-4.1-2025-04-14": 2.5, "gpt-3.5-turbo-0125": 0}
    types = {family.name: family.type for family in found.families}
    assert types["tunewatch_estimated_cost_dollars"] == "counter"


def tokens(value: float, **labels: str) -> Count:
    kind = {"source": "research", "base_model": MINI, "method": "supervised"}
    return Count(name="trained_tokens", labels={**kind, **labels}, value=value)


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


def test_a_model_that_is_shown_keeps_its_label():
    shown = ShownModels(most=1)
    assert [shown.label(m) for m in ("a", "b", "a", "other")] == [
        "a",
        "other",
        "a",
        "other",
    ]
