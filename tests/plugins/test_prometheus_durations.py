"""`/metrics`: how long jobs took and waited, and which job it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)

from support.job_rows import BEGAN, job_row
from support.scraping import FINISHED, MINI, OPENMETRICS, Scraper, finished
from tunewatch.plugin import DURATION_BOUNDS, Count, JobRow

KIND = {"source": "research", "base_model": MINI, "method": "supervised"}
TOOK = "tunewatch_job_duration_seconds"
WAITED = "tunewatch_job_queue_seconds"


def part(name: str, value: float, **labels: str) -> Count:
    said = {**KIND, "status": "succeeded", **labels}
    return Count(name=name, labels=said, value=value)


def three_jobs(name: str = "job_duration_seconds") -> list[Count]:
    """Return what the store keeps of jobs that took 50, 100 and 100,000 s."""
    return [
        part(f"{name}_bucket", 1, le="60"),
        part(f"{name}_bucket", 1, le="120"),
        part(f"{name}_bucket", 1, le="+Inf"),
        part(f"{name}_sum", 100_150),
    ]


@pytest.mark.parametrize("name", ["job_duration_seconds", "job_queue_seconds"])
async def test_what_fell_into_each_bucket_becomes_what_fell_below_each_bound(
    tmp_path: Path, name: str
):
    scraper = Scraper(tmp_path)
    scraper.jobs.totals = three_jobs(name)
    found = await scraper.scrape()
    by_bound = {
        dict(labels)["le"]: value
        for labels, value in found.of(f"tunewatch_{name}_bucket").items()
        if dict(labels)["status"] == "succeeded"
    }
    bounds = [str(float(bound)) for bound in DURATION_BOUNDS]
    assert by_bound == {
        **dict.fromkeys(bounds, 2),
        "60.0": 1,
        "+Inf": 3,
    }
    who = {**KIND, "status": "succeeded"}
    assert found.one(f"tunewatch_{name}_count", **who) == 3
    assert found.one(f"tunewatch_{name}_sum", **who) == 100_150
    types = {family.name: family.type for family in found.families}
    assert types[f"tunewatch_{name}"] == "histogram"
    assert f"tunewatch_{name}_bucket_total" not in found.text


async def test_bounds_of_another_version_are_kept_in_their_place(tmp_path: Path):
    scraper = Scraper(tmp_path)
    scraper.jobs.totals = [
        *three_jobs(),
        part("job_duration_seconds_bucket", 4, le="90"),
    ]
    found = await scraper.scrape()
    who = {**KIND, "status": "succeeded"}
    below = [
        found.one(f"{TOOK}_bucket", le=le, **who) for le in ("60.0", "90.0", "120.0")
    ]
    assert below == [1, 5, 6]


async def test_two_models_that_are_shown_as_one_are_one_histogram(tmp_path: Path):
    scraper = Scraper(tmp_path)
    scraper.jobs.totals = [
        *three_jobs(),
        part("job_duration_seconds_bucket", 1, le="60", base_model=f"ft:{MINI}:org::x"),
        part("job_duration_seconds_sum", 5, base_model=f"ft:{MINI}:org::x"),
    ]
    found = await scraper.scrape()
    who = {**KIND, "status": "succeeded"}
    assert found.one(f"{TOOK}_count", **who) == 4
    assert found.one(f"{TOOK}_sum", **who) == 100_155


# Exemplars ------------------------------------------------------------------------


def ended(job_id: str, *, took: int, at: int = 0, **row: Any) -> JobRow:
    end = BEGAN + 10_000 + at
    return job_row(
        job_id,
        row.pop("status", "succeeded"),
        job={"created_at": end - took, "finished_at": end, **row.pop("job", {})},
        **{"started_at": end - took + 30, "settled": True, **row},
    )


async def exemplars(
    scraper: Scraper,
) -> dict[tuple[str, str], tuple[str, float, float]]:
    """Return job, value and time by the name of a sample and its bound or status."""
    body = (await scraper.metrics.respond(OPENMETRICS)).body.decode()
    return {
        (sample.name, sample.labels.get("le", sample.labels["status"])): (
            sample.exemplar.labels["job_id"],
            sample.exemplar.value,
            float(sample.exemplar.timestamp or 0),
        )
        for family in parse_openmetrics(body)
        for sample in family.samples
        if sample.exemplar
    }


def counted(*histograms: str) -> list[Count]:
    return [
        finished(3, method="supervised", status="succeeded"),
        *(count for name in histograms for count in three_jobs(name)),
    ]


async def test_the_newest_job_of_each_bucket_is_its_exemplar(tmp_path: Path):
    scraper = Scraper(
        tmp_path,
        ended("ftjob-a", took=50, at=1),
        ended("ftjob-b", took=59, at=7),
        ended("ftjob-c", took=55, at=3),
        ended("ftjob-d", took=100, at=5),
        job_row("ftjob-e"),
    )
    scraper.jobs.totals = counted("job_duration_seconds", "job_queue_seconds")
    end = BEGAN + 10_000
    assert await exemplars(scraper) == {
        (f"{TOOK}_bucket", "60.0"): ("ftjob-b", 59, end + 7),
        (f"{TOOK}_bucket", "120.0"): ("ftjob-d", 100, end + 5),
        (f"{WAITED}_bucket", "60.0"): ("ftjob-b", 30, end + 7),
        (FINISHED, "succeeded"): ("ftjob-b", 1, end + 7),
    }


async def test_the_older_format_has_no_exemplars(tmp_path: Path):
    scraper = Scraper(tmp_path, ended("ftjob-a", took=50))
    scraper.jobs.totals = counted("job_duration_seconds")
    found = await scraper.scrape()
    assert " # {" not in found.text
    assert found.one(f"{TOOK}_count", status="succeeded") == 3


@pytest.mark.parametrize(
    "row",
    [
        {"is_counted": False},
        {"status": "failed"},  # of a series that has counted nothing
        {"status": "running"},
        {"job": {"created_at": None, "error": None}, "status": "cancelled"},
    ],
)
async def test_a_job_that_a_series_has_not_counted_is_not_its_exemplar(
    tmp_path: Path, row: Mapping[str, Any]
):
    scraper = Scraper(tmp_path, ended("ftjob-a", took=50, **row))
    scraper.jobs.totals = counted("job_duration_seconds", "job_queue_seconds")
    assert await exemplars(scraper) == {}


@pytest.mark.parametrize(("length", "shown"), [(122, True), (123, False)])
async def test_an_id_that_is_too_long_for_an_exemplar_is_left_out(
    tmp_path: Path, length: int, shown: bool
):
    scraper = Scraper(tmp_path, ended("j" * length, took=50))
    scraper.jobs.totals = counted("job_duration_seconds")
    found = await exemplars(scraper)
    assert bool(found) is shown
    if shown:
        assert "job_id" + found[FINISHED, "succeeded"][0] == "job_id" + "j" * 122


async def test_a_job_that_failed_without_a_time_is_an_exemplar_of_the_failures(
    tmp_path: Path,
):
    row = job_row("ftjob-a", "failed", status_changed_at=BEGAN + 5, started_at=None)
    scraper = Scraper(tmp_path, row)
    scraper.jobs.totals = [finished(1, method="supervised")]
    found = await exemplars(scraper)
    assert found == {(FINISHED, "failed"): ("ftjob-a", 1, BEGAN + 5)}
