"""A daemon at work: two projects, two receivers, a Prometheus, and people asking."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import yaml

from support.working_day import PROJECTS, SECRET, Day, working_day

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Day]:
    async with working_day(tmp_path_factory.mktemp("day")) as made:
        yield made
        assert await made.daemon.stop() == 0
        assert not made.daemon.log("plugin.defect")
        assert not made.daemon.log("loop.died")


async def test_a_receiver_made_of_the_sdk_alone_hears_who_ended_and_what_to_deploy(day):
    heard = day.deployer
    assert heard.refused == 0
    succeeded = {day.id(name) for name in ("good", "overfit", "blind")}
    assert set(heard.jobs("fine_tuning.job.succeeded")) == succeeded
    assert heard.jobs("fine_tuning.job.failed") == [day.id("broken")]
    final = {
        event.data.id: event.data
        for event in heard.by_type["tunewatch.checkpoint.selected"]
        if event.data.decision == "final"
    }
    assert set(final) == {day.id("good"), day.id("overfit")}
    assert set(heard.by_type) == {
        "fine_tuning.job.succeeded",
        "fine_tuning.job.failed",
        "tunewatch.checkpoint.selected",
        "tunewatch.checkpoint.unselected",
    }
    reasons = {
        event.data.id: event.data.reason
        for event in heard.by_type["tunewatch.checkpoint.unselected"]
    }
    assert reasons == {
        day.id("blind"): "no_validation_file",
        day.id("broken"): "job_failed",
    }


async def test_the_archive_has_each_job_s_story_in_order_and_nothing_twice(day):
    for name in day.jobs:
        events = day.archive.of(day.id(name))
        sequences = [event["data"]["sequence"] for event in events]
        assert sequences == sorted(set(sequences)), name
        assert events[0]["type"] == "tunewatch.job.discovered"
        types = [event["type"] for event in events]
        statuses = [one for one in types if one.startswith("fine_tuning.job.")]
        assert len(statuses) == len(set(statuses)), statuses
        source = {event["data"]["source"] for event in events}
        assert source == {"research" if name in ("good", "overfit") else "product"}
    points = [
        point["step"]
        for event in day.archive.of(day.id("good"))
        if event["type"] == "fine_tuning.event.metrics"
        for point in event["data"]["points"]
    ]
    assert sorted(set(points)) == list(range(1, 31))


async def test_the_checkpoint_of_an_over_fitted_job_is_not_its_last(day):
    job = day.id("overfit")
    shown = await day.daemon.cli("show", job, "-o", "json")
    candidates = json.loads(shown.out)["selection"]["data"]["candidates"]
    best = min(candidates, key=lambda one: one["value"])
    chosen = [
        one["data"]
        for one in day.archive.of(job)
        if one["type"] == "tunewatch.checkpoint.selected"
    ][-1]
    assert chosen["decision"] == "final"
    assert chosen["value"] == best["value"]
    assert chosen["checkpoint"]["step_number"] == best["step"] < 30
    deployed = await day.daemon.cli("best", job)
    assert (deployed.code, deployed.out) == (
        0,
        chosen["checkpoint"]["fine_tuned_model_checkpoint"] + "\n",
    )


async def test_best_says_by_its_exit_code_why_there_is_nothing_to_deploy(day):
    blind = await day.daemon.cli("best", day.id("blind"))
    assert (blind.code, blind.out) == (4, "")
    assert "validation" in blind.err
    paused = await day.daemon.cli("best", day.id("paused"))
    assert (paused.code, paused.out) == (5, "")
    assert "provisional" in paused.err
    anyway = await day.daemon.cli("best", day.id("paused"), "--provisional")
    assert anyway.code == 0
    assert anyway.out.startswith("ft:")
    family = await day.daemon.cli("best", "--metadata", "team=search")
    assert family.code == 0
    nobody = await day.daemon.cli("best", "ftjob-nobody")
    assert nobody.code == 4


async def test_prometheus_knows_status_losses_and_the_best_step(day):
    ask = day.prometheus.until
    statuses = await ask("tunewatch_job_status == 1", lambda found: len(found) == 5)
    by_job = {labels["job_id"]: labels["status"] for labels, _ in statuses}
    assert by_job == {
        day.id("good"): "succeeded",
        day.id("overfit"): "succeeded",
        day.id("blind"): "succeeded",
        day.id("broken"): "failed",
        day.id("paused"): "paused",
    }
    who = f'{{source="research",job_id="{day.id("overfit")}"}}'
    loss = await day.prometheus.query(f"tunewatch_job_full_valid_loss{who}")
    assert 0 < loss[0][1] < 10
    step = await day.prometheus.query(f"tunewatch_job_best_checkpoint_step{who}")
    assert step[0][1] < 30
    names = await day.prometheus.query('tunewatch_job_info{metadata_team="search"}')
    assert {labels["suffix"] for labels, _ in names} == set(day.jobs)
    finished = await day.prometheus.query(
        "sum by (status) (tunewatch_jobs_finished_total)"
    )
    assert {labels["status"]: value for labels, value in finished} == {
        "succeeded": 3,
        "failed": 1,
        "cancelled": 0,
    }


async def test_prometheus_can_alert_on_the_daemon_itself(day):
    ask = day.prometheus.query
    assert {labels["source"]: value for labels, value in await ask("tunewatch_up")} == {
        "research": 1,
        "product": 1,
    }
    held = await ask("tunewatch_lease_held")
    assert {value for _, value in held} == {1}
    # Totals are born at 0: an increase from the first failure on is seen.
    dropped = await ask("tunewatch_plugin_dropped_total")
    assert dropped
    assert {value for _, value in dropped} == {0}
    delivered = await day.prometheus.until(
        'tunewatch_plugin_deliveries_total{plugin="archive"}',
        lambda found: bool(found) and found[0][1] >= len(day.archive.events),
    )
    assert len(delivered) == 1


async def test_promtool_has_nothing_to_say_about_the_live_metrics(day):
    status, body, headers = await day.daemon.get("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    promtool = shutil.which("promtool")
    assert promtool, "promtool is needed: it comes with Prometheus"
    done = await asyncio.to_thread(
        subprocess.run,
        [promtool, "check", "metrics"],
        input=body.encode(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    _, body, headers = await day.daemon.get(
        "/metrics", Accept="application/openmetrics-text"
    )
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


async def test_jobs_and_show_tell_the_same_beside_the_running_daemon(day):
    table = await day.daemon.cli("jobs")
    assert table.code == 0
    assert all(day.id(name) in table.out for name in day.jobs)
    listed = json.loads((await day.daemon.cli("jobs", "-o", "json")).out)
    statuses = {job["job"]["suffix"]: job["job"]["status"] for job in listed["data"]}
    assert statuses["broken"] == "failed"
    assert statuses["paused"] == "paused"
    shown = await day.daemon.cli("show", day.id("good"), "-o", "yaml")
    assert yaml.safe_load(shown.out)["job"]["id"] == day.id("good")
    unknown = await day.daemon.cli("show", "ftjob-nobody")
    assert unknown.code != 0
    assert "ftjob-nobody" in unknown.err


async def test_plugins_config_and_check_work_beside_it_and_show_no_secret(day):
    plugins = await day.daemon.cli("plugins", "-o", "json")
    states = {one["name"]: one for one in json.loads(plugins.out)["data"]}
    assert set(states) == {"best_checkpoint", "prometheus", "deployer", "archive"}
    assert {one["state"] for one in states.values()} <= {"up", "new"}
    assert {one["dead_letters"] for one in states.values()} == {0}
    config = await day.daemon.cli("config")
    assert config.code == 0
    assert "[sources.research]" in config.out
    check = await day.daemon.cli("check")
    assert check.code == 0, check.out + check.err
    assert check.out.count("answers and has jobs") == 2
    for said in (plugins, config, check):
        for secret in (SECRET, SECRET[6:], *PROJECTS.values()):
            assert secret not in said.out + said.err


async def test_probes_answer_with_the_state_of_every_part(day):
    status, body, _ = await day.daemon.get("/livez")
    assert (status, json.loads(body)["status"]) == (200, "ok")
    status, report = await day.daemon.ready()
    assert status == 200
    assert report["ready"] is True
    assert {name: one["state"] for name, one in report["sources"].items()} == {
        "research": "up",
        "product": "up",
    }
    assert set(report["plugins"]) == {
        "best_checkpoint",
        "prometheus",
        "deployer",
        "archive",
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v2/jobs", 404),
        ("GET", "/admin", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/readyz", 405),
        ("POST", "/hooks/openai/research", 404),
    ],
)
async def test_everything_else_is_closed_with_a_problem_document(
    day, method, path, status
):
    found, body, headers = await day.daemon.get(path, method)
    problem = json.loads(body)
    assert (found, problem["status"]) == (status, status)
    assert headers["Content-Type"].startswith("application/problem+json")
    assert problem["detail"]


async def test_a_foreign_host_name_is_turned_away(day):
    status, body, _ = await day.daemon.get("/metrics", Host="evil.example")
    assert status == 403
    assert "Host" in json.loads(body)["detail"]


async def test_every_log_line_is_json_with_an_event_name_and_no_secret(day):
    lines = day.daemon.log()
    assert {"lease.held", "daemon.ready"} <= {line["event"] for line in lines}
    for line in lines:
        assert {"timestamp", "level", "event"} <= set(line)
    text = day.daemon.said.read_text()
    for secret in (SECRET, *PROJECTS.values()):
        assert secret not in text
