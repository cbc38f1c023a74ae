"""What can be asked to be done over HTTP: with the token, as rows for the daemon."""

from __future__ import annotations

import json

import pytest

from support.operator_api import operator_api

TOKEN = "token-canary-4711"
KEY = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content_Type": "application/json"}
EVERY = ("look", "pause", "resume")


@pytest.fixture
async def operator(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with operator_api(url, token=lambda: TOKEN) as operator:
        await operator.filling.job("a")
        await operator.filling.job("a", source="other", realm="openai:b")
        yield operator


@pytest.mark.parametrize(
    ("path", "body", "kind", "row"),
    [
        ("/plugins/ops/pause", b"", "pause", {"plugin": "ops"}),
        (
            "/plugins/ops/pause",
            b'{"reason": "a move"}',
            "pause",
            {"plugin": "ops", "reason": "a move"},
        ),
        ("/plugins/ops/resume", b"{}", "resume", {"plugin": "ops"}),
        ("/jobs/a/look?source=other", b"", "look", {"job": "a"}),
    ],
)
async def test_what_is_asked_for_is_a_row(operator, path, body, kind, row):
    reply = await operator.ask(path, "POST", body, **KEY, **JSON)
    assert reply.status == 202, reply
    (request,) = await operator.store.requests.pending(EVERY)
    assert reply.json == {"object": "request", "id": request.id, "kind": kind}
    assert (request.kind, json.loads(request.body)) == (kind, row)
    sources = {one.name: one.id for one in await operator.store.reads.sources()}
    assert request.source_id == (sources["other"] if kind == "look" else None)


async def test_what_is_not_there_cannot_be_asked_for(operator):
    told = await operator.problem("/plugins/opps/pause", "POST", **KEY)
    assert told["status"] == 404
    assert "did you mean ops?" in told["detail"]
    assert (await operator.problem("/jobs/b/look", "POST", **KEY))["status"] == 404
    twins = await operator.problem("/jobs/a/look", "POST", **KEY)
    assert (twins["status"], twins["sources"]) == (409, ["other", "research"])
    assert await operator.store.requests.pending(EVERY) == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "truncated"),
        (b"[]", 400, "Expected `object`"),
        (b"[" * 60_000, 400, "less depth"),
        (b'{"reason": 7}', 400, "$.reason"),
        (b'{"reason": "a\\u0000b"}', 400, "$.reason"),
        (b'{"resaon": "x"}', 400, "unknown field `resaon`"),
        (b'{"reason": "' + b"x" * 65536 + b'"}', 413, ""),
    ],
)
async def test_a_body_that_is_wrong_is_told_what_is_wrong(
    operator, body, status, words
):
    told = await operator.problem("/plugins/ops/pause", "POST", body, **KEY, **JSON)
    assert told["status"] == status
    assert words in told["detail"]
    assert await operator.store.requests.pending(EVERY) == []


async def test_a_body_of_another_type_is_415(operator):
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        told = await operator.problem(
            "/plugins/ops/pause", "POST", b"{}", **KEY, Content_Type=content_type
        )
        assert told["status"] == 415


async def test_get_does_nothing(operator):
    for path in ("/plugins/ops/pause", "/jobs/a/look"):
        reply = await operator.ask(path)
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")
