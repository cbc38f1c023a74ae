"""What a chat shows of an event: short, harmless, and taken by the chat."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from support.receiver_server import receiver
from support.webhook_opening import SECRET, delivery, event, opened, settled
from tunewatch.events import (
    CheckpointSelected,
    Event,
    JobStatusChanged,
    MessageLogged,
    MetricsRecorded,
    SourceDown,
    encode,
)
from tunewatch.plugin import Delivery, Pause, Retry
from tunewatch.testing import examples
from tunewatch_plugins.webhook.chat import CHATS, MOST_FACTS
from tunewatch_plugins.webhook.formats import shaped

CHAT = sorted(CHATS)
EVERY = [*examples.deliveries(), *examples.odd_deliveries(), examples.big_delivery()]
EVIL = (
    "<!channel> <@U1> @everyone <https://evil.example|here> "
    "[click](https://evil.example) **bold** `code` & more"
)


def told(name: str, sent: Delivery) -> dict[str, Any]:
    """Return the message that a chat gets."""
    message = shaped(name, mode="structured", payload="full")(sent)
    assert dict(message.headers) == {"content-type": "application/json"}
    body: dict[str, Any] = json.loads(message.body)
    return body


def of(payload: Any, event_type: str) -> Delivery:
    happened: Event = replace(event(), type=event_type, payload=payload)
    return Delivery(event=happened, body=encode(happened))


def failed(message: str = "the file is empty", **job: Any) -> Delivery:
    said = {"id": "ftjob-1", "error": {"code": "invalid_file", "message": message}}
    payload = JobStatusChanged(job={**said, **job}, previous_status="running")
    happened = event(status="failed")
    happened = replace(happened, payload=payload)
    return Delivery(event=happened, body=encode(happened))


CHOICE = CheckpointSelected(
    checkpoint={
        "id": "ftckpt-40",
        "step_number": 40,
        "fine_tuned_model_checkpoint": "ft:gpt-4o-mini:acme::x:ckpt-step-40",
    },
    decision="final",
    metric="full_valid_loss",
    goal="minimize",
    value=0.899972,
    reason="full_valid_loss is lowest at step 40: 0.899972.",
    candidates=(),
    previous=None,
)


def test_slack_is_told_of_a_failure_in_red_with_its_reason():
    said = told("slack", failed(user_provided_suffix="triage"))
    assert said["text"] == "triage: failed"
    [attachment] = said["attachments"]
    assert attachment["color"] == "#e01e5a"
    header, text, facts = attachment["blocks"]
    assert header["text"]["text"] == "triage: failed"
    assert text["text"] == {
        "type": "plain_text",
        "text": "invalid_file: the file is empty",
        "emoji": False,
    }
    assert [field["text"] for field in facts["fields"]] == [
        "*Before*\nrunning",
        "*Job*\nftjob-1",
        "*Source*\nresearch",
    ]


def test_discord_is_told_of_the_final_choice_in_green():
    said = told("discord", of(CHOICE, CheckpointSelected.TYPE))
    [embed] = said["embeds"]
    assert embed["title"] == r"Best checkpoint\: step 40"
    assert embed["color"] == 0x2EB67D
    assert embed["description"].startswith(r"full\_valid\_loss is lowest at step 40\:")
    assert embed["fields"][0]["name"] == "Model"
    assert said["allowed_mentions"] == {"parse": []}


def test_teams_gets_an_adaptive_card():
    down = SourceDown(reason="asked api.example: 401", since="2026-01-01T00:00:00Z")
    said = told("teams", of(down, SourceDown.TYPE))
    assert said["type"] == "message"
    [attachment] = said["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    title, text, facts = card["body"]
    assert (title["text"], title["color"]) == ("research does not answer", "Attention")
    assert text["text"] == r"asked api\.example\: 401"
    assert facts["facts"][0] == {"title": "Since", "value": r"2026\-01\-01T00\:00\:00Z"}


def test_metrics_name_the_last_step_and_its_values():
    points = [
        {"n": n, "step": n, "total_steps": 90, "created_at": 1, "values": {"loss": n}}
        for n in (1, 2)
    ]
    sample = next(
        one for one in EVERY if isinstance(one.event.payload, MetricsRecorded)
    )
    point = type(sample.event.payload.points[0])
    payload = MetricsRecorded(points=tuple(point(**one) for one in points))
    said = told("slack", of(payload, MetricsRecorded.TYPE))
    assert said["text"] == "Step 2 of 90"
    assert "*loss*\n2" in json.dumps(said, ensure_ascii=False).replace("\\n", "\n")


@pytest.mark.parametrize("name", CHAT)
@pytest.mark.parametrize("number", range(len(EVERY)))
def test_every_event_has_a_message_and_the_same_one_each_time(name, number):
    message = shaped(name, mode="structured", payload="full")
    first, second = message(EVERY[number]), message(EVERY[number])
    assert first == second
    assert len(first.body) < 28 * 1024


def texts(value: Any) -> list[str]:
    """Return every string in a message."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


def harmful(name: str, said: dict[str, Any]) -> list[str]:
    """Return what would be read as a mention, a link or a format."""
    if name == "slack":
        # Plain text is never read; in the rest `<` begins a link or a mention.
        plain = [
            block["text"]["text"]
            for block in said["attachments"][0]["blocks"]
            if "text" in block
        ]
        return [one for one in texts(said) if "<" in one and one not in plain]
    found = texts(said["embeds"] if name == "discord" else said["attachments"][0])
    ours = {"http://adaptivecards.io/schemas/adaptive-card.json"}
    return [
        one
        for one in found
        if one not in ours and re.search(r"(?<!\\)(?:\\\\)*[\[\]<>@*`]", one)
    ]


@pytest.mark.parametrize("name", CHAT)
def test_words_from_outside_call_nobody_and_link_nowhere(name):
    logged = MessageLogged(
        level="error", message=EVIL, event_id="e", event_type="message"
    )
    for sent in (
        failed(EVIL, user_provided_suffix=EVIL, model=EVIL),
        of(logged, MessageLogged.TYPE),
    ):
        said = told(name, sent)
        assert harmful(name, said) == []
        assert "evil" in json.dumps(said)  # it is shown, as text


LIMITS = {"header": 150, "section": 3000, "field": 2000}


def within_limits(name: str, said: dict[str, Any]) -> bool:
    if name == "slack":
        [attachment] = said["attachments"]
        blocks = attachment["blocks"]
        fields = [f for block in blocks for f in block.get("fields", [])]
        return (
            all(
                0 < len(block["text"]["text"]) <= LIMITS[block["type"]]
                for block in blocks
                if "text" in block
            )
            and len(fields) <= MOST_FACTS
            and all(0 < len(field["text"]) <= LIMITS["field"] for field in fields)
        )
    if name == "discord":
        [embed] = said["embeds"]
        parts = [embed["title"], embed["description"]]
        parts += [part for f in embed["fields"] for part in (f["name"], f["value"])]
        return (
            len(embed["title"]) <= 256
            and len(embed["description"]) <= 4096
            and len(embed["fields"]) <= 25
            and all(0 < len(f["name"]) <= 256 for f in embed["fields"])
            and all(0 < len(f["value"]) <= 1024 for f in embed["fields"])
            and sum(map(len, parts)) <= 6000
        )
    return len(json.dumps(said, ensure_ascii=False).encode()) <= 28 * 1024


anything = st.text(max_size=6000) | st.sampled_from(
    ["😀" * 6000, "é" * 6000, "\\" * 6000, "<" * 6000, "*" * 6000, "👩‍👩‍👧" * 2000]
)


@pytest.mark.parametrize("name", CHAT)
@given(message=anything, suffix=anything)
def test_no_text_makes_a_message_too_long(name, message, suffix):
    said = told(name, failed(message, user_provided_suffix=suffix, model=suffix))
    assert within_limits(name, said)


def at_chat(url: str, name: str) -> dict[str, Any]:
    """Return the table of a chat on this machine."""
    return {"url": url, "format": name, "secret": [], "allow_hosts": ["127.0.0.1"]}


@pytest.mark.parametrize("name", CHAT)
async def test_it_goes_out_unsigned_to_an_address_that_is_the_secret(name):
    async with receiver() as at:
        table = at_chat(at.url(), name)
        async with opened(table) as webhook:
            answer = await webhook.deliver(failed())
            assert answer.status in range(200, 300)
        [post] = at.posts
    assert post.headers["content-type"] == "application/json"
    assert not [one for one in post.headers if one.lower().startswith("webhook-")]
    assert json.loads(post.body) == told(name, failed())


@pytest.mark.parametrize(
    ("status", "kind", "scope"),
    [
        (404, Retry, "plugin"),
        (429, Retry, "plugin"),
        (400, Retry, "lane"),
        (410, Pause, None),
    ],
)
async def test_a_chat_that_refuses_is_believed(status, kind, scope):
    async with receiver(lambda _: web.Response(status=status)) as at:
        table = at_chat(at.url(), "slack")
        async with opened(table) as webhook:
            with pytest.raises(kind) as refused:
                await webhook.deliver(delivery())
    assert getattr(refused.value, "scope", None) == scope


@pytest.mark.parametrize(
    ("key", "value"), [("secret", SECRET), ("payload", "thin"), ("mode", "binary")]
)
@pytest.mark.parametrize("name", CHAT)
def test_what_has_no_meaning_in_a_chat_is_refused(name, key, value):
    table = {"url": "https://chat.example.com/x", "format": name, key: value}
    _, [mistake] = settled(table)
    assert f"plugins.ops.{key}" in mistake
