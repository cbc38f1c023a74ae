"""`/metrics`: which series there are, in both formats, and what is never shown."""

from __future__ import annotations

import asyncio
import math
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as OwnCounter
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pydantic import ValidationError
from structlog.testing import capture_logs

from support.job_rows import BEGAN, job_row, selection
from support.readers import HandmadeJobs, lent_context
from tunewatch.events import CheckpointUnselected
from tunewatch.model import JobStatus, Selection
from tunewatch.plugin import Count, JobRow
from tunewatch.telemetry import Telemetry
from tunewatch_plugins.prometheus import PLUGIN, Metrics, Settings
from tunewatch_plugins.prometheus.exposition import is_openmetrics_wanted
from tunewatch_plugins.prometheus.models import ShownModels, root_model

OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0"}
PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """An answer, parsed by the library's own parsers."""

    def __init__(self, body: bytes, *, openmetrics: bool = False) -> None:
        self.text = body.decode()
        parse: Any = parse_openmetrics if openmetrics else parse_text
        self.families = list(parse(self.text))
        self.samples: Samples = {}
        for family in self.families:
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"twice: {key}"
                self.samples[key] = sample.value

    def of(self, name: str) -> dict[frozenset[tuple[str, str]], float]:
        return {k: v for (found, k), v in self.samples.items() if found == name}

    def one(self, name: str, **labels: str) -> float:
        wanted = labels.items()
        found = [v for k, v in self.of(name).items() if wanted <= k]
        assert len(found) == 1, f"{name}: {self.of(name)}"
        return found[0]

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(k) for k in self.of(name)]


class Scraper:
    """The view with jobs made by hand."""

    def __init__(
        self,
        home: Path,
        *rows: JobRow,
        registry: CollectorRegistry | None = None,
        **settings: Any,
    ) -> None:
        self.jobs = HandmadeJobs()
        self.jobs.rows = rows
        context = lent_context(self.jobs, home, registry=registry)
        self.metrics = Metrics(Settings(**settings), context)

    async def scrape(self, headers: Mapping[str, str] | None = None) -> Scrape:
        answer = await self.metrics.respond(headers or {})
        assert answer.status == 200
        openmetrics = answer.content_type.startswith("application/openmetrics-text")
        return Scrape(answer.body, openmetrics=openmetrics)


def is_of_a_job(name: str) -> bool:
    return name.startswith("tunewatch_job_") and not name.endswith("_total")


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


MINI = "gpt-4o-mini-2024-07-18"


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
        if is_of_a_job(name) and short not in extra:
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
    names = {name for name, _ in found.samples if is_of_a_job(name)}
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


def finished(value: float, **labels: str) -> Count:
    """Return a total as the store counts it."""
    kind = {"source": "research", "base_model": MINI, "method": "dpo"}
    said = {**kind, "status": "failed", "error_code": "", **labels}
    return Count(name="jobs_finished", labels=said, value=value)


FINISHED = "tunewatch_jobs_finished_total"


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


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (PROMETHEUS_2_42, True),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        (
            "application/openmetrics-text;version=1.0.0;escaping=values,text/plain;q=0.5",
            True,
        ),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("text/plain, application/openmetrics-text;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nonsense", False),
        ("text/html,*/*", False),
        ("", False),
    ],
)
def test_openmetrics_is_sent_to_those_who_prefer_it(accept: str, wanted: bool):
    assert is_openmetrics_wanted(accept) is wanted


async def test_the_content_type_names_the_format(tmp_path: Path):
    metrics = Scraper(tmp_path).metrics
    plain = await metrics.respond({})
    assert plain.content_type == "text/plain; version=0.0.4; charset=utf-8"
    other = await metrics.respond({"accept": PROMETHEUS_2_42})
    assert other.content_type == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )


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
            assert found.one("tunewatch_up", source="research") == 0
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
        {"metadata_labels": ["a b", "a-b"]},
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
