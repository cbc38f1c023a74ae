"""Events over HTTP: their order, what chooses among them, their bytes."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest

from support.operator_api import Operator, operator_api
from tunewatch.events import encode
from tunewatch.testing import examples


@pytest.fixture
async def operator(tmp_path):
    async with operator_api(f"sqlite:///{tmp_path / 'state.db'}") as operator:
        await operator.filling.job("a", points={1: {"train_loss": 0.5}})
        await operator.filling.job("b", status="failed")
        await operator.filling.job("c", source="other", realm="openai:b")
        yield operator


async def kept(operator: Operator) -> list[bytes]:
    events = await operator.store.reads.events(limit=1000)
    return [event.body for event in events]


async def test_events_are_oldest_first_and_byte_for_byte(operator):
    bodies = await kept(operator)
    reply = await operator.ask("/events")
    assert reply.body.count(b'"object":"event"') == len(bodies)
    joined = b",".join(bodies)
    assert b"[" + joined + b"]" in reply.body
    one = await operator.ask(f"/events/{json.loads(bodies[0])['id']}")
    assert one.body == bodies[0]


async def test_pages_of_events_lead_to_every_event_once(operator):
    everything = [json.loads(body)["id"] for body in await kept(operator)]
    for order, expected in (("asc", everything), ("desc", everything[::-1])):
        seen: list[str] = []
        after = ""
        while True:
            reply = await operator.ask(f"/events?limit=2&order={order}{after}")
            seen += reply.ids
            if not reply.json["has_more"]:
                break
            after = f"&after={reply.json['next']}"
        assert seen == expected


async def test_the_end_of_the_list_is_where_to_go_on_later(operator):
    end = (await operator.ask("/events")).json
    assert end["has_more"] is False
    behind = await operator.ask(f"/events?after={end['next']}")
    assert (behind.ids, behind.json["next"]) == ([], end["next"])
    await operator.filling.job("d")
    later = await operator.ask(f"/events?after={end['next']}")
    assert {one["data"]["id"] for one in later.json["data"]} == {"d"}


async def test_an_events_own_id_is_a_place_too(operator):
    everything = (await operator.ask("/events")).ids
    assert (await operator.ask(f"/events?after={everything[2]}")).ids == everything[3:]
    assert (await operator.ask("/events?after=0")).ids == everything


@pytest.mark.parametrize(
    "query", ["after=evt_nobody", "after=2-evt_nobody", "after=999999-evt_x"]
)
async def test_a_place_that_is_not_known_is_said_to_be_so(operator, query):
    told = await operator.problem(f"/events?{query}")
    assert told["status"] == 404
    assert [one["parameter"] for one in told["errors"]] == ["after"]
    assert "older than the retention" in told["detail"]


@pytest.mark.parametrize(
    ("query", "jobs", "types"),
    [
        ("job=a", {"a"}, 3),
        ("job=nobody", set(), 0),
        ("source=other", {"c"}, 2),
        ("job=a&source=other", set(), 0),
        ("type=@status", {"a", "b", "c"}, 2),
        ("type=fine_tuning.job.failed,tunewatch.job.*", {"a", "b", "c"}, 2),
        ("type=@terminal&type=@metrics", {"a", "b"}, 2),
        ("since=0", {"a", "b", "c"}, 4),
        ("before=1000", set(), 0),
    ],
)
async def test_events_are_chosen(operator, query, jobs, types):
    data = (await operator.ask(f"/events?{query}")).json["data"]
    assert {one["data"]["id"] for one in data} == jobs
    assert len({one["type"] for one in data}) == types


async def test_a_jobs_own_events_are_those_of_the_filter(operator):
    own = await operator.ask("/jobs/a/events?limit=2")
    assert own.ids == (await operator.ask("/events?job=a&limit=2")).ids
    assert own.json["has_more"] is True


async def test_a_group_that_does_not_exist_names_those_that_do(operator):
    told = await operator.problem("/events?type=@teminal")
    assert told["status"] == 400
    assert "the groups @status, @terminal" in told["errors"][0]["detail"]


async def test_an_event_that_is_not_kept_is_404(operator):
    assert (await operator.problem("/events/evt_nobody"))["status"] == 404


async def test_every_event_is_as_its_schema_says(operator):
    answer = (await operator.ask("/schemas")).json
    assert answer["schema_version"] == 1
    told = 0
    for delivery in examples.deliveries():
        event = json.loads(encode(delivery.event))
        kind = event["type"]
        if kind not in answer["data"]:
            kind = "fine_tuning.job.<status>"
        validator = jsonschema_rs.validator_for(answer["data"][kind])
        validator.validate(event)
        told += 1
        del event["data"]["sequence"]
        assert not validator.is_valid(event)
    assert told > len(answer["data"])
