"""What a real Prometheus makes of `/metrics`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as OwnCounter

from support.job_rows import BEGAN, job_row, selection
from support.prometheus_server import Prometheus, prometheus_server, served
from support.readers import HandmadeJobs, lent_context
from support.reference_tables import README, fenced
from tunewatch.plugin import Count
from tunewatch_plugins.prometheus import PLUGIN, Settings

HOSTILE = 'a"b\\c\nd}{,="e" # HELP é 🎛 \\n'


# One server for all: it waits five seconds before its first scrape.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def jobs() -> HandmadeJobs:
    return HandmadeJobs()


@pytest.fixture(autouse=True)
def one_job(jobs: HandmadeJobs) -> None:
    jobs.rows = [job_row("ftjob-1", selection=selection())]
    jobs.totals = []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prometheus(
    jobs: HandmadeJobs, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Prometheus]:
    home = tmp_path_factory.mktemp("prometheus")
    registry = CollectorRegistry()
    OwnCounter("tunewatch_polls", "Looks at a source.", registry=registry).inc(3)
    settings = Settings(metadata_labels=("team",))
    context = lent_context(jobs, home, registry=registry)
    async with (
        PLUGIN.open(settings, context) as view,
        served(view) as port,
        prometheus_server(port, home) as server,
    ):
        yield server


async def test_values_arrive_as_they_are(prometheus: Prometheus):
    await prometheus.until("tunewatch_job_step", lambda found: len(found) == 1)
    who = {"source": "research", "job_id": "ftjob-1"}
    expected = {
        "tunewatch_job_step": 150,
        "tunewatch_job_expected_steps": 300,
        "tunewatch_job_epoch": 1.5,
        "tunewatch_job_full_valid_loss": 0.0531,
        "tunewatch_job_full_valid_token_accuracy_ratio": 0.67,
        "tunewatch_job_created_timestamp_seconds": BEGAN,
        "tunewatch_job_best_checkpoint_step": 200,
    }
    for name, value in expected.items():
        assert await prometheus.query(name) == [({"__name__": name, **who}, value)]
    statuses = await prometheus.query("tunewatch_job_status == 1")
    assert [labels["status"] for labels, _ in statuses] == ["running"]
    assert await prometheus.query("tunewatch_polls_total") == [
        ({"__name__": "tunewatch_polls_total"}, 3)
    ]


async def test_types_and_helps_arrive(prometheus: Prometheus):
    await prometheus.until("tunewatch_job_step", lambda found: len(found) == 1)
    metadata = await prometheus.get("metadata")
    ours = {k: v[0] for k, v in metadata.items() if k.startswith("tunewatch_")}
    assert ours["tunewatch_job_step"]["type"] == "gauge"
    assert all(entry["help"].endswith(".") for entry in ours.values())
    totals = [name for name in ours if name.startswith("tunewatch_jobs_finished")]
    assert [ours[name]["type"] for name in totals] == ["counter"]


async def test_hostile_names_arrive_unchanged(
    prometheus: Prometheus, jobs: HandmadeJobs
):
    jobs.rows = [
        job_row(
            HOSTILE,
            "queued",
            source=HOSTILE,
            job={"suffix": HOSTILE, "metadata": {"team": HOSTILE}},
        )
    ]
    found = await prometheus.until(
        'tunewatch_job_info{metadata_team!=""}', lambda found: len(found) == 1
    )
    names = found[0][0]
    for label in ("source", "job_id", "suffix", "metadata_team"):
        assert names[label] == HOSTILE
    assert [v for _, v in await prometheus.query("up")] == [1]


async def test_a_finished_job_leaves_at_the_next_scrape_after_its_window(
    prometheus: Prometheus, jobs: HandmadeJobs
):
    alert = 'tunewatch_job_status{status="failed"} == 1'
    jobs.rows = [
        job_row("ftjob-1", "failed", settled=True),
        job_row("ftjob-2", "running"),
    ]
    await prometheus.until(alert, lambda found: len(found) == 1)
    jobs.rows = jobs.rows[1:]
    await prometheus.until(alert, lambda found: not found)
    steps = await prometheus.query("tunewatch_job_step")
    assert [labels["job_id"] for labels, _ in steps] == ["ftjob-2"]


async def test_which_job_it_was_can_be_asked_of_prometheus(
    prometheus: Prometheus, jobs: HandmadeJobs
):
    now = int(time.time())
    end = {"created_at": now - 700, "finished_at": now - 100}
    kind = {
        "source": "research",
        "status": "succeeded",
        "base_model": "gpt-4o-mini-2024-07-18",
        "method": "supervised",
    }
    jobs.rows = [job_row("ftjob-slow", "succeeded", job=end, started_at=now - 680)]
    jobs.totals = [
        Count(name="jobs_finished", labels={**kind, "error_code": ""}, value=1),
        Count(
            name="job_duration_seconds_bucket", labels={**kind, "le": "600"}, value=1
        ),
        Count(name="job_duration_seconds_sum", labels=kind, value=600),
    ]
    await prometheus.until(
        'tunewatch_job_duration_seconds_bucket{le="600.0",status="succeeded"}',
        lambda found: [value for _, value in found] == [1],
    )
    took = await prometheus.exemplars("tunewatch_job_duration_seconds_bucket")
    assert took == [({"job_id": "ftjob-slow"}, 600)]
    ends = await prometheus.exemplars("tunewatch_jobs_finished_total")
    assert ends == [({"job_id": "ftjob-slow"}, 1)]
    buckets = 'tunewatch_job_duration_seconds_bucket{status="succeeded"}'
    (found,) = await prometheus.query(f"histogram_quantile(0.5, {buckets})")
    assert 300 < found[1] <= 600


async def test_prometheus_understands_the_questions_in_the_readme(
    prometheus: Prometheus,
):
    (shown,) = fenced(README.read_text(), "promql")
    questions = shown.splitlines()
    assert len(questions) > 2
    for question in questions:
        await prometheus.query(question)


async def test_the_first_failure_is_seen_as_an_increase_from_zero(
    prometheus: Prometheus, jobs: HandmadeJobs
):
    labels = {
        "source": "research",
        "status": "failed",
        "base_model": "gpt-4o-mini-2024-07-18",
        "method": "supervised",
        "error_code": "server_error",
    }
    pairs = ",".join(f'{name}="{value}"' for name, value in labels.items())
    failed = f"tunewatch_jobs_finished_total{{{pairs}}}"
    await prometheus.until(failed, lambda found: [v for _, v in found] == [0])
    jobs.totals = [Count(name="jobs_finished", labels=labels, value=1)]
    await prometheus.until(
        f"increase({failed}[1m])", lambda found: any(v > 0 for _, v in found)
    )
