"""`/metrics` in both formats, the daemon's own among it, and what goes wrong."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as OwnCounter
from structlog.testing import capture_logs

from support.job_rows import job_row, selection
from support.scraping import (
    FINISHED,
    OPENMETRICS,
    Scrape,
    Scraper,
    finished,
)
from tunewatch.plugin import Count
from tunewatch.telemetry import Telemetry


def daemons_own() -> CollectorRegistry:
    """Return a registry such as the daemon keeps about itself."""
    registry = CollectorRegistry()
    OwnCounter("tunewatch_polls", "Looks at a source.", ["source"], registry=registry)
    Gauge("tunewatch_up", "1 if the source answers.", ["source"], registry=registry)
    took = Histogram(
        "tunewatch_poll_duration_seconds", "Seconds a look takes.", registry=registry
    )
    took.observe(0.3, exemplar={"job_id": "ftjob-1"})
    return registry


# Formats --------------------------------------------------------------------------


async def test_both_formats_say_the_same(tmp_path: Path):
    rows = [job_row("a", selection=selection()), job_row("b", "failed")]
    scraper = Scraper(tmp_path, *rows, registry=daemons_own())
    plain = await scraper.scrape()
    openmetrics = await scraper.scrape(OPENMETRICS)
    ours = {k for k in plain.samples if not k[0].endswith("_created")}
    theirs = {k for k in openmetrics.samples if not k[0].endswith("_created")}
    assert ours == theirs
    assert all(plain.samples[key] == openmetrics.samples[key] for key in ours)
    assert openmetrics.text.endswith("# EOF\n")
    assert openmetrics.text.count("# EOF") == 1
    assert "# EOF" not in plain.text
    assert 'job_id="ftjob-1"} 0.3' in openmetrics.text, "the exemplar is lost"


@pytest.mark.parametrize("rows", [0, 2])
async def test_promtool_has_nothing_to_complain_about(tmp_path: Path, rows: int):
    promtool = shutil.which("promtool")
    assert promtool, "promtool is needed: it comes with Prometheus"
    made = [
        job_row(f"j{n}", "succeeded", selection=selection(), step=n)
        for n in range(rows)
    ]
    scraper = Scraper(tmp_path, *made, registry=daemons_own())
    scraper.jobs.totals = [finished(2), Count(name="events", labels={}, value=1)]
    body = (await scraper.metrics.respond({})).body
    checked = subprocess.run(  # noqa: ASYNC221 - nothing else is on this loop
        [promtool, "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_every_help_ends_with_a_full_stop(tmp_path: Path):
    row = job_row(selection=selection())
    found = await Scraper(tmp_path, row).scrape()
    assert all(f.documentation.endswith(".") for f in found.families)


text = st.text(max_size=12) | st.sampled_from(['"', "\\", "\n", "@", "\ud800", "\\n"])


@given(text, text, text, text)
def test_any_name_whatever_comes_back_as_it_was(
    source: str, job_id: str, suffix: str, team: str
):
    row = job_row(
        job_id, source=source, job={"suffix": suffix, "metadata": {"team": team}}
    )
    scraper = Scraper(Path(), row, metadata_labels=("team",))
    names = (source, job_id, suffix, team)
    for headers, openmetrics in (({}, False), (OPENMETRICS, True)):
        answer = _now(scraper.metrics.respond(headers))
        found = Scrape(answer.body, openmetrics=openmetrics)
        (labels,) = found.labels("tunewatch_job_info")
        keys = ("source", "job_id", "suffix", "metadata_team")
        shown = tuple(labels[key] for key in keys)
        # What UTF-8 cannot say becomes a question mark.
        assert shown == tuple(n.encode(errors="replace").decode() for n in names)


def _now(what: Any) -> Any:
    """Run a coroutine to its end."""
    return asyncio.run(what)


# The daemon's own, and trouble ----------------------------------------------------


async def test_the_daemons_own_metrics_are_in_the_same_answer(tmp_path: Path):
    registry = daemons_own()
    found = await Scraper(tmp_path, job_row(), registry=registry).scrape()
    assert found.one("tunewatch_poll_duration_seconds_count") == 1


async def test_the_daemon_as_it_is_uses_none_of_our_names(tmp_path: Path):
    telemetry = Telemetry(version="1.0")
    telemetry.born(sources=["research"], plugins=["ops"])
    scraper = Scraper(tmp_path, job_row(), registry=telemetry.registry)
    with capture_logs() as said:
        for headers in ({}, OPENMETRICS):
            found = await scraper.scrape(headers)
            assert found.one("tunewatch_lease_held", source="research") == 0
            names = [family.name for family in found.families]
            assert sorted(names) == sorted(set(names))
    assert said == []


async def test_a_name_that_the_daemon_uses_is_not_sent_twice(tmp_path: Path):
    registry = CollectorRegistry()
    Gauge("tunewatch_jobs_hidden", "The daemon's own.", registry=registry).set(42)
    OwnCounter("tunewatch_jobs_finished", "The daemon's own.", registry=registry)
    scraper = Scraper(tmp_path, job_row(), registry=registry)
    with capture_logs() as said:
        for headers in ({}, OPENMETRICS, {}):
            found = await scraper.scrape(headers)
            assert found.one("tunewatch_jobs_hidden") == 42
            assert found.one(FINISHED) == 0
    warned = [e["metric"] for e in said if e["event"] == "metric.name_taken"]
    assert sorted(warned) == ["tunewatch_jobs_finished", "tunewatch_jobs_hidden"]


async def test_an_unreadable_store_still_answers_and_is_said_once(tmp_path: Path):
    scraper = Scraper(tmp_path, job_row(), registry=daemons_own())
    with capture_logs() as said:
        scraper.jobs.fault = OSError("password=hunter2")
        for _ in range(3):
            found = await scraper.scrape()
            assert found.one("tunewatch_jobs_readable") == 0
            assert found.one("tunewatch_poll_duration_seconds_count") == 1
            assert not found.of("tunewatch_job_info")
        scraper.jobs.fault = None
        assert (await scraper.scrape()).one("tunewatch_jobs_readable") == 1
    assert [entry["event"] for entry in said] == ["jobs.unreadable", "jobs.readable"]
    assert "hunter2" not in str(said)
