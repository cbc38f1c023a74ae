from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial

import pytest
import structlog
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tunewatch.sources.contract import Call
from tunewatch.telemetry import FAULTS, LoopLag, Outage, Telemetry

NOW = 1_700_000_000.0


@pytest.fixture
def telemetry():
    return Telemetry(version="1.2.3", revision="abc", now=lambda: NOW)


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"tunewatch_{name}", labels)


def test_every_total_of_what_is_configured_begins_at_zero(telemetry):
    telemetry.born(sources=["research"], plugins=["ops"])
    assert value(telemetry, "lease_held", source="research") == 0
    assert value(telemetry, "lease_transitions_total", source="research") == 0
    assert value(telemetry, "polls_total", source="research") == 0
    for reason in FAULTS:
        labels = {"source": "research", "reason": reason}
        assert value(telemetry, "polls_failed_total", **labels) == 0
    assert value(telemetry, "plugin_deliveries_total", plugin="ops") == 0
    assert value(telemetry, "plugin_failed_total", plugin="ops", reason="receiver") == 0
    assert value(telemetry, "plugin_dead_letters", plugin="ops") == 0
    assert value(telemetry, "plugin_dwell_seconds_count", plugin="ops") == 0
    assert value(telemetry, "api_requests_total", endpoint="jobs") == 0
    assert value(telemetry, "api_malformed_items_total", endpoint="jobs") == 0


def test_a_poll_that_works_and_one_that_fails_are_told_apart(telemetry):
    telemetry.poll_finished("research", "discovery", 0.2)
    assert value(telemetry, "up", source="research") == 1
    stamp = "poll_last_success_timestamp_seconds"
    assert value(telemetry, stamp, source="research") == NOW
    telemetry.poll_finished("research", "discovery", 0.2, fault="unavailable")
    assert value(telemetry, "up", source="research") == 0
    assert value(telemetry, "polls_total", source="research") == 2
    failed = {"source": "research", "reason": "unavailable"}
    assert value(telemetry, "polls_failed_total", **failed) == 1


def test_a_reason_nobody_has_heard_of_is_other(telemetry):
    telemetry.poll_finished("research", "discovery", 0.2, fault="sunspots")
    failed = {"source": "research", "reason": "other"}
    assert value(telemetry, "polls_failed_total", **failed) == 1


def test_limits_are_shown_only_where_the_api_says_them(telemetry):
    telemetry.observe_call("quiet", Call(endpoint="jobs", seconds=0.1, outcome="ok"))
    telemetry.observe_call(
        "loud",
        Call(
            endpoint="jobs",
            seconds=0.1,
            outcome="unavailable",
            remaining_requests=7,
            limit_requests=100,
            reset_after=2.5,
        ),
    )
    left = "api_ratelimit_remaining_requests"
    assert value(telemetry, left, source="quiet") is None
    assert value(telemetry, left, source="loud") == 7
    reset = "api_ratelimit_reset_timestamp_seconds"
    assert value(telemetry, reset, source="loud") == NOW + 2.5
    assert value(telemetry, "api_requests_total", endpoint="jobs") == 2
    failed = {"endpoint": "jobs", "reason": "unavailable"}
    assert value(telemetry, "api_requests_failed_total", **failed) == 1


def test_items_that_cannot_be_read_are_counted_as_often_as_they_come(telemetry):
    call = Call(endpoint="events", seconds=0.1, outcome="ok", malformed=3)
    for _ in range(2):
        telemetry.observe_call("research", call)
    assert value(telemetry, "api_malformed_items_total", endpoint="events") == 6


def test_deliveries_attempts_and_retries_are_counted_apart(telemetry):
    telemetry.attempted("ops", source="a", attempt=1, outcome="receiver", seconds=0.1)
    telemetry.attempted("ops", source="a", attempt=2, outcome="accepted", seconds=0.2)
    telemetry.delivered("ops", source="a", dwell=3.0)
    telemetry.buried("ops", source="a", reason="age")
    assert value(telemetry, "plugin_attempts_total", plugin="ops") == 2
    assert value(telemetry, "plugin_retries_total", plugin="ops") == 1
    assert value(telemetry, "plugin_deliveries_total", plugin="ops") == 1
    assert value(telemetry, "plugin_failed_total", plugin="ops", reason="receiver") == 1
    assert value(telemetry, "plugin_dwell_seconds_sum", plugin="ops") == 3.0
    assert value(telemetry, "plugin_dropped_total", plugin="ops", reason="age") == 1


def test_a_backlog_that_is_empty_has_no_oldest_event(telemetry):
    telemetry.backlog("ops", 3, oldest=NOW - 60)
    oldest = "plugin_oldest_pending_timestamp_seconds"
    assert value(telemetry, oldest, plugin="ops") == NOW - 60
    telemetry.backlog("ops", 0, oldest=None)
    assert value(telemetry, oldest, plugin="ops") is None
    assert value(telemetry, "plugin_queue_length", plugin="ops") == 0


def test_jobs_of_a_source_that_went_to_another_replica_are_not_ours(telemetry):
    telemetry.jobs_tracked("a", 3)
    telemetry.jobs_tracked("b", 4)
    assert value(telemetry, "jobs_tracked") == 7
    telemetry.lease_held("a", held=False)
    assert value(telemetry, "jobs_tracked") == 4


LIMITS = {"remaining_requests": 7, "limit_requests": 100, "reset_after": 2.5}
OF_A_SOURCE = (
    "up",
    "poll_last_success_timestamp_seconds",
    "poll_last_attempt_timestamp_seconds",
    "poll_interval_seconds",
    "api_ratelimit_remaining_requests",
    "api_ratelimit_limit_requests",
    "api_ratelimit_reset_timestamp_seconds",
)


def polled(telemetry: Telemetry) -> None:
    telemetry.poll_finished("a", "discovery", 0.1)
    telemetry.poll_interval("a", 15.0)
    call = Call(endpoint="jobs", seconds=0.1, outcome="ok", **LIMITS)
    telemetry.observe_call("a", call)


def test_how_a_source_is_tells_only_the_replica_that_has_it(telemetry):
    telemetry.born(sources=["a"])
    assert value(telemetry, "up", source="a") is None
    telemetry.lease_held("a", held=True)
    assert value(telemetry, "up", source="a") == 0
    polled(telemetry)
    assert all(value(telemetry, name, source="a") for name in OF_A_SOURCE)
    telemetry.lease_held("a", held=False)
    assert value(telemetry, "lease_held", source="a") == 0
    # What ends later than the lease did must not bring them back.
    for _ in range(2):
        assert [n for n in OF_A_SOURCE if value(telemetry, n, source="a")] == []
        polled(telemetry)
    # Counters stay: they would seem to have begun anew.
    assert value(telemetry, "polls_total", source="a") == 3
    telemetry.lease_held("a", held=True)
    polled(telemetry)
    assert value(telemetry, "up", source="a") == 1
    assert value(telemetry, "lease_transitions_total", source="a") == 2


def test_a_lease_that_is_lost_is_counted_by_how(telemetry):
    telemetry.born(sources=["a"])
    telemetry.lease_lost("a", "fenced")
    lost = partial(value, telemetry, "lease_lost_total", source="a")
    assert (lost(how="ended"), lost(how="fenced")) == (0, 1)


def test_what_has_no_value_yet_is_not_there(telemetry):
    late = (
        "state_size_bytes",
        "state_free_bytes",
        "state_last_write_timestamp_seconds",
        "config_hash",
        "config_last_reload_success_timestamp_seconds",
    )
    assert [name for name in late if value(telemetry, name) is not None] == []
    for _ in range(2):
        telemetry.state_size(4096)
        telemetry.state_free(1024)
        telemetry.state_written()
        telemetry.configured("00000000002a" + "f" * 20)
        telemetry.reloaded(ok=True)
    assert [value(telemetry, name) for name in late] == [4096, 1024, NOW, 42, NOW]


def test_a_failed_reload_keeps_the_time_of_the_last_good_one(telemetry):
    telemetry.reloaded(ok=True)
    telemetry.reloaded(ok=False)
    assert value(telemetry, "config_last_reload_successful") == 0
    stamp = "config_last_reload_success_timestamp_seconds"
    assert value(telemetry, stamp) == NOW


def test_the_whole_can_be_scraped_and_every_help_is_a_sentence(telemetry):
    telemetry.born(sources=["a"], plugins=["b"])
    telemetry.lease_held("a", held=True)
    text = generate_latest(telemetry.registry).decode()
    families = list(text_string_to_metric_families(text))
    ours = [family for family in families if family.name.startswith("tunewatch_")]
    assert len(ours) > 25
    assert all(family.documentation.endswith(".") for family in ours)
    assert "_created" not in text
    assert "process_resident_memory_bytes" in text
    assert 'tunewatch_build_info{python_version="' in text


def test_two_apps_in_one_process_do_not_share_metrics(telemetry):
    other = Telemetry(version="1")
    telemetry.poll_finished("research", "discovery", 0.1)
    assert value(other, "polls_total", source="research") is None


async def test_a_blocked_loop_is_seen_and_stays_visible(telemetry):
    lag = telemetry.lag
    with suppress(TimeoutError):
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(lag.watch(0.01), name="lag")
            await asyncio.sleep(0.03)
            time.sleep(0.25)  # noqa: ASYNC251 - the fault under test
            await asyncio.sleep(0.03)
            watch.cancel()
    assert (value(telemetry, "event_loop_lag_seconds") or 0) >= 0.2


def test_a_lag_is_forgotten_after_a_minute():
    lag = LoopLag()
    lag.noted(0.0, 2.0)
    lag.noted(30.0, 0.5)
    assert lag.worst() == 2.0
    lag.noted(61.0, 0.1)
    assert lag.worst() == 0.5
    lag.noted(95.0, 0.0)
    assert lag.worst() == 0.1


def test_an_outage_is_said_once_when_it_starts_and_once_when_it_ends():
    clock = iter([10.0, 25.0])
    with structlog.testing.capture_logs() as lines:
        outage = Outage(
            structlog.get_logger(),
            "source",
            monotonic=lambda: next(clock),
            source="research",
        )
        assert outage.ended() is False
        assert outage.began("503") is True
        assert outage.began("503") is False
        assert outage.began("timeout") is False
        assert outage.reason == "timeout"
        assert outage.ended() is True
        assert outage.ended() is False
    said = [line for line in lines if line["log_level"] != "debug"]
    assert said == [
        {
            "event": "source.down",
            "log_level": "warning",
            "reason": "503",
            "source": "research",
        },
        {
            "event": "source.up",
            "log_level": "info",
            "seconds": 15.0,
            "source": "research",
        },
    ]
