from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewatch.testing import examples
from tunewatch_plugins.mqtt.topics import Topics, checked_prefix, level

TOPICS = Topics("ml/tunewatch")


def test_an_event_has_a_topic_of_its_job_and_its_type():
    topics = {TOPICS.event(one.event) for one in examples.deliveries()}
    job = "ml/tunewatch/v1/research/jobs/ftjob-example/events/"
    assert f"{job}fine_tuning.job.succeeded" in topics
    assert f"{job}tunewatch.checkpoint.selected" in topics


def test_an_event_of_a_source_has_no_job_in_its_topic():
    topics = {TOPICS.event(one.event) for one in examples.deliveries()}
    assert "ml/tunewatch/v1/research/events/tunewatch.source.down" in topics


def test_states_and_replicas_have_topics_beside():
    state = TOPICS.state("research", "ftjob-1")
    assert state == "ml/tunewatch/v1/research/jobs/ftjob-1/state"
    assert TOPICS.job_of(state) == "ftjob-1"
    assert TOPICS.job_of("ml/tunewatch/v1/status/host-1") is None
    assert TOPICS.states("research") == "ml/tunewatch/v1/research/jobs/+/state"
    assert TOPICS.status("host-1") == "ml/tunewatch/v1/status/host-1"


def test_what_a_provider_says_stays_in_its_level():
    (delivery, *_) = examples.deliveries()
    event = delivery.event
    common = msgspec.structs.replace(event.common, id="../#/+/a b%2F\x00é")
    topic = TOPICS.event(msgspec.structs.replace(event, common=common))
    prefix, _, name = topic.partition("/jobs/")
    assert prefix == "ml/tunewatch/v1/research"
    assert name == "..%2F%23%2F%2B%2Fa b%252F%00é/events/tunewatch.job.discovered"


@given(st.text(max_size=9))
def test_a_level_has_no_separator_and_no_wildcard_and_is_never_empty(name: str):
    assert level(name)
    assert not set(level(name)) & set("/+#\x00")


@given(st.text(max_size=5), st.text(max_size=5))
def test_different_names_are_different_levels(one: str, other: str):
    assert (level(one) == level(other)) == (one == other)


@given(st.text(min_size=1, max_size=9))
def test_a_job_is_read_back_from_the_topic_of_its_state(job: str):
    assert TOPICS.job_of(TOPICS.state("research", job)) == job


@pytest.mark.parametrize("prefix", ["tunewatch", "ml/tunewatch", "a b/c.d-e"])
def test_a_prefix_is_one_or_more_levels(prefix: str):
    assert checked_prefix(prefix) == prefix


@pytest.mark.parametrize(
    "prefix", ["", "/", "a/", "/a", "a//b", "a/+", "#", "a#", "$SYS", "a\x00", "50%"]
)
def test_a_prefix_that_would_mean_something_else_is_refused(prefix: str):
    with pytest.raises(ValueError, match="wanted"):
        checked_prefix(prefix)
