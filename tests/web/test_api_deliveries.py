"""The delivery log and redelivery over HTTP."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import insert

from support.operator_api import Operator, operator_api
from tunewatch.store import schema

TOKEN = "token-canary-4711"
KEY = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}


@pytest.fixture
async def operator(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with operator_api(url, token=lambda: TOKEN) as operator:
        await operator.filling.job("a")
        await operator.filling.job("b", source="other", realm="openai:b")
        await log(operator)
        yield operator


async def log(operator: Operator) -> None:
    """Leave attempts as a dispatcher does, and one dead letter."""
    events = await operator.store.reads.events(limit=10)
    attempts = [
        {
            "plugin": "ops",
            "source_id": event.source_id,
            "job_key": event.job_key,
            "position": event.position,
            "event_id": event.id,
            "number": 1,
            "at": 1_760_000_000.0 + number,
            "seconds": 0.25,
            "outcome": "event" if number == 2 else "accepted",
            "status": 400 if number == 2 else 204,
            "reason": "it answered 400" if number == 2 else None,
            "answer": "" if number == 2 else None,
        }
        for number, event in enumerate(events)
    ]
    dead = events[2]
    letter = {
        "plugin": "ops",
        "source_id": dead.source_id,
        "job_key": dead.job_key,
        "first_position": dead.position,
        "last_position": dead.position,
        "first_sequence": dead.sequence,
        "last_sequence": dead.sequence,
        "event_id": dead.id,
        "tries": 5,
        "reason": "it answered 400",
        "at": 1_760_000_100.0,
    }

    def write(connection) -> None:
        connection.execute(insert(schema.attempt), attempts)
        connection.execute(insert(schema.dead_letter), [letter])

    await operator.store.carrier.write(write)


async def test_every_attempt_is_listed_newest_first(operator):
    events = await operator.store.reads.events(limit=10)
    data = (await operator.ask("/deliveries")).json["data"]
    assert [one["event_id"] for one in data] == [one.id for one in reversed(events)]
    failed = data[1]
    assert failed == {
        "object": "delivery",
        "id": 3,
        "plugin": "ops",
        "source": "other",
        "job_id": "b",
        "event_id": events[2].id,
        "event_type": "tunewatch.job.discovered",
        "position": 3,
        "number": 1,
        "redelivery": None,
        "at": 1_760_000_002.0,
        "seconds": 0.25,
        "outcome": "event",
        "status": 400,
        "reason": "it answered 400",
        "answer": "",
    }
    assert (await operator.ask("/deliveries/3")).json == failed


async def test_pages_of_attempts_lead_to_every_one(operator):
    first = (await operator.ask("/deliveries?limit=3")).json
    assert (first["has_more"], first["next"]) == (True, "2")
    rest = (await operator.ask(f"/deliveries?limit=3&after={first['next']}")).json
    assert [one["id"] for one in rest["data"]] == [1]
    assert (rest["has_more"], rest["next"]) == (False, None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("plugin=ops", 4),
        ("plugin=other", 0),
        ("source=other", 2),
        ("job=a", 2),
        ("outcome=failed", 1),
        ("outcome=accepted", 3),
        ("outcome=accepted,event", 4),
        ("outcome=timeout", 0),
        ("redelivery=1", 0),
        ("since=1760000001&before=1760000003", 2),
    ],
)
async def test_attempts_are_chosen(operator, query, expected):
    reply = await operator.ask(f"/deliveries?{query}")
    assert reply.status == 200, reply
    assert len(reply.json["data"]) == expected


async def test_attempts_of_one_event(operator):
    (event, *_) = await operator.store.reads.events(limit=1)
    data = (await operator.ask(f"/deliveries?event={event.id}")).json["data"]
    assert [one["id"] for one in data] == [1]


async def test_an_outcome_that_does_not_exist_names_those_that_do(operator):
    told = await operator.problem("/deliveries?outcome=late")
    assert told["status"] == 400
    assert "some of accepted, receiver, timeout" in told["detail"]


@pytest.mark.parametrize("what", ["9", "x", "0x1", "9" * 40, "-1"])
@pytest.mark.parametrize("path", ["deliveries", "redeliveries"])
async def test_what_is_not_in_the_log_is_404(operator, path, what):
    assert (await operator.problem(f"/{path}/{what}"))["status"] == 404


async def test_dead_letters_are_listed(operator):
    (letter,) = (await operator.ask("/dead_letters")).json["data"]
    assert (letter["plugin"], letter["job_id"], letter["tries"]) == ("ops", "b", 5)
    assert letter["closed_at"] is None
    assert (await operator.ask("/dead_letters?plugin=other")).json["data"] == []
    assert len((await operator.ask("/dead_letters?closed=true")).json["data"]) == 1


async def test_a_dry_run_says_what_would_go_out_and_asks_for_nothing(operator):
    body = json.dumps({"dead": True, "dry_run": True, "since": 3.0}).encode()
    reply = await operator.ask("/redeliver", "POST", body, **KEY)
    assert reply.status == 200
    plan = reply.json
    assert (plan["id"], plan["events"], plan["plugins"]) == (None, 1, ["ops"])
    (first,) = plan["first"]
    assert (first["job_id"], first["letter"]) == ("b", 1)
    assert (await operator.ask("/redeliveries")).json["data"] == []


async def test_what_is_asked_for_can_be_followed_and_taken_back(operator):
    body = json.dumps({"dead": True}).encode()
    reply = await operator.ask("/redeliver", "POST", body, **KEY)
    assert reply.status == 202
    made = reply.json["id"]
    asked = (await operator.ask(f"/redeliveries/{made}")).json
    assert (asked["events"], asked["left"], asked["accepted"]) == (1, 1, 0)
    assert asked["by"] == "api:127.0.0.1"
    assert asked["asked"] == {"dead": True}
    again = await operator.ask("/redeliver", "POST", body, **KEY)
    assert (again.status, again.json["id"], again.json["under_way"]) == (200, None, 1)
    taken = await operator.ask(f"/redeliveries/{made}/cancel", "POST", **KEY)
    assert taken.status == 202
    assert taken.json["left"] == 0
    assert (await operator.ask("/redeliveries")).json["data"] == [taken.json]


async def test_one_delivery_is_made_again(operator):
    reply = await operator.ask("/deliveries/3/redeliver", "POST", **KEY)
    assert (reply.status, reply.json["events"]) == (202, 1)
    (asked,) = (await operator.ask("/redeliveries")).json["data"]
    assert asked["asked"]["plugin"] == "ops"
    assert len(asked["asked"]["events"]) == 1
    dry = await operator.ask(
        "/deliveries/1/redeliver", "POST", b'{"dry_run": true}', **KEY
    )
    assert (dry.status, dry.json["id"], dry.json["events"]) == (200, None, 1)
    gone = await operator.problem("/deliveries/99/redeliver", "POST", **KEY)
    assert gone["status"] == 404


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 409, ""),
        ({"plugin": "opps", "first": 1}, 404, "did you mean ops?"),
        ({"events": ["evt_nobody"], "plugin": "ops"}, 409, "evt_nobody"),
        ({"letters": [99]}, 409, "99"),
        ({"plugin": "ops", "types": ["@nope"], "first": 1}, 400, "$.types"),
        ({"plugin": "ops", "frist": 1}, 400, "unknown field `frist`"),
        ({"plugin": "ops", "job": "nobody", "first": 1}, 409, "nobody"),
    ],
)
async def test_what_cannot_be_delivered_again_says_why(operator, body, status, words):
    raw = json.dumps(body).encode()
    told = await operator.problem("/redeliver", "POST", raw, **KEY)
    assert told["status"] == status, told
    assert words in told["detail"]
    assert (await operator.ask("/redeliveries")).json["data"] == []
