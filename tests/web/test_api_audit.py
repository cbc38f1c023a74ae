"""Whatever is had done leaves a row: who, what, on what, and what came of it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from support.operator_api import operator_api
from tunewatch.api.operations import ACTIONS
from tunewatch.config.tokens import line_of

BARE = "token-canary-4711"
READER = "token-of-reader"
LINES = f"""
{BARE}
{line_of("token-of-ops", name="ops-team", scopes=frozenset({"read", "act"}))}
{line_of(READER, name="reader", scopes=frozenset({"read"}))}
"""
JSON = {"Content_Type": "application/json"}
OPS = {"Authorization": "Bearer token-of-ops", **JSON}
NAMELESS = {"Authorization": f"Bearer {BARE}", **JSON}


@pytest.fixture
async def operator(store_url):
    async with operator_api(store_url, token=lambda: LINES) as operator:
        await operator.filling.job("a")
        yield operator


async def rows(operator, query=""):
    reply = await operator.ask(f"/audit{query}", Authorization=f"Bearer {READER}")
    assert reply.status == 200, reply
    return [
        (one["by"], one["what"], one["about"], one["outcome"])
        for one in reply.json["data"]
    ]


async def test_every_action_leaves_a_row_that_says_who_and_what(operator):
    async def act(path, body=b"", key=OPS):
        reply = await operator.ask(path, "POST", body, **key)
        assert reply.status == 202, reply
        return reply.json["id"]

    paused = await act("/plugins/ops/pause", b'{"reason": "a move"}')
    resumed = await act("/plugins/ops/resume", key=NAMELESS)
    looked = await act("/jobs/a/look")
    asked = b'{"plugin": "ops", "since": 0}'
    made = await act("/redeliver", asked)
    events = (await operator.ask(f"/redeliveries/{made}")).json["events"]
    await act(f"/redeliveries/{made}/cancel")
    assert await rows(operator) == [
        ("ops-team", "cancel_redelivery", f"{made}", "taken back: 1 stretches"),
        (
            *("ops-team", "redeliver", "ops"),
            f"asked for: redelivery {made} of {events} events",
        ),
        ("ops-team", "look_at_job", "research/a", f"asked for: request {looked}"),
        ("api:127.0.0.1", "resume_plugin", "ops", f"asked for: request {resumed}"),
        ("ops-team", "pause_plugin", "ops", f"asked for: request {paused}"),
    ]
    known = {action.name for action in ACTIONS}
    assert {what for _, what, _, _ in await rows(operator)} <= known


async def test_what_changes_nothing_leaves_no_row(operator):
    for path, body, key, status in (
        ("/plugins/ops/pause", b"", {"Authorization": f"Bearer {READER}"}, 403),
        ("/plugins/ops/pause", b"", {}, 401),
        ("/plugins/opps/pause", b"", OPS, 404),
        ("/plugins/ops/pause", b"{", OPS, 400),
        ("/redeliver", b'{"plugin": "ops", "since": 0, "dry_run": true}', OPS, 200),
        ("/redeliveries/7/cancel", b"", OPS, 404),
    ):
        assert (await operator.ask(path, "POST", body, **key)).status == status
    assert await rows(operator) == []


async def test_it_is_read_by_filters_and_page_by_page(operator):
    for n in range(5):
        kind, key = ("resume", NAMELESS) if n % 2 else ("pause", OPS)
        await operator.ask(f"/plugins/ops/{kind}", "POST", **key)
    everything = await rows(operator)
    assert len(everything) == 5
    assert len(await rows(operator, "?by=ops-team")) == 3
    assert len(await rows(operator, "?what=resume_plugin&about=ops")) == 2
    assert await rows(operator, "?about=nobody") == []
    assert await rows(operator, "?before=1") == []
    assert await rows(operator, "?since=1") == everything
    seen, after = [], ""
    while True:
        reply = await operator.ask(f"/audit?limit=2{after}")
        seen += reply.ids
        if not reply.json["has_more"]:
            break
        after = f"&after={reply.json['next']}"
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5


async def test_a_row_and_what_it_tells_are_written_together_or_not_at_all(operator):
    """A store in which the audit cannot be written does nothing either."""
    await operator.store.carrier.write(lambda c: c.execute(text("DROP TABLE audit")))
    for path, body in (
        ("/plugins/ops/resume", b""),
        ("/redeliver", b'{"plugin": "ops", "since": 0}'),
    ):
        assert (await operator.ask(path, "POST", body, **OPS)).status >= 500
    assert await operator.store.requests.pending(["resume"]) == []
    assert await operator.store.redeliver.recent() == []
