"""Events as messages of a chat: Slack, Discord, Microsoft Teams.

Only the shape of a message: what is said comes from `wording`. Nothing that comes from
outside can call anybody, link anywhere or make a message too long to be taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from tunewatch.plugin import Delivery
from tunewatch_plugins.webhook.wording import Tone, Words, words_of

Chat: TypeAlias = Callable[[Words], dict[str, Any]]
"""Makes the JSON of a message."""

MOST_FACTS = 10
"""Of one message: Slack takes ten fields in a section, Discord 25 in an embed."""

_HTML_COLOURS: dict[Tone, str] = {
    "good": "#2eb67d",
    "bad": "#e01e5a",
    "odd": "#ecb22e",
    "plain": "#8a8f98",
}
_TEAMS_COLOURS: dict[Tone, str] = {
    "good": "Good",
    "bad": "Attention",
    "odd": "Warning",
    "plain": "Default",
}
_MARKS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~@:])")
"""What Markdown makes something of, and what Discord makes a mention of."""
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def message(chat: Chat, delivery: Delivery) -> bytes:
    """Return the body of a message; the same event always makes the same bytes."""
    return msgspec.json.encode(chat(words_of(delivery.event)))


def slack(words: Words) -> dict[str, Any]:
    """Return a message of an incoming webhook of Slack.

    Lengths: https://docs.slack.dev/reference/block-kit/blocks/section-block. In `<…>`
    Slack reads links and mentions, so those three signs are written as entities
    (https://docs.slack.dev/messaging/formatting-message-text).
    """
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(cut(words.title, 150))}
    ]
    if words.text:
        # Plain text: nothing in it is formatted.
        blocks.append({"type": "section", "text": _plain(cut(words.text, 3000))})
    if words.facts:
        fields = [
            {
                "type": "mrkdwn",
                "text": f"*{_entities(name, 200)}*\n{_entities(value, 300)}",
            }
            for name, value in words.facts[:MOST_FACTS]
        ]
        blocks.append({"type": "section", "fields": fields})
    attachment = {"color": _HTML_COLOURS[words.tone], "blocks": blocks}
    return {"text": _entities(words.title, 300), "attachments": [attachment]}


def discord(words: Words) -> dict[str, Any]:
    """Return a message of a webhook of Discord: one embed.

    Lengths, 6,000 in all: https://discord.com/developers/docs/resources/message
    (embed limits). With nothing in `allowed_mentions` nobody is called.
    """
    fields = [
        {"name": _unmarked(name, 100), "value": _unmarked(value, 200), "inline": True}
        for name, value in words.facts[:MOST_FACTS]
    ]
    embed = {
        "title": _unmarked(words.title, 250),
        "description": _unmarked(words.text, 2000),
        "color": int(_HTML_COLOURS[words.tone][1:], 16),
        "fields": fields,
    }
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def teams(words: Words) -> dict[str, Any]:
    """Return a message of a workflow of Microsoft Teams: one Adaptive Card.

    https://learn.microsoft.com/power-automate: "When a Teams webhook request is
    received" takes cards of at most 28 KB.
    """
    title = {
        "type": "TextBlock",
        "text": _unmarked(words.title, 250),
        "weight": "Bolder",
        "size": "Medium",
        "color": _TEAMS_COLOURS[words.tone],
        "wrap": True,
    }
    body: list[dict[str, Any]] = [title]
    if words.text:
        text = _unmarked(words.text, 2000)
        body.append({"type": "TextBlock", "text": text, "wrap": True})
    if words.facts:
        facts = [
            {"title": _unmarked(name, 100), "value": _unmarked(value, 200)}
            for name, value in words.facts[:MOST_FACTS]
        ]
        body.append({"type": "FactSet", "facts": facts})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {
        "type": "message",
        "attachments": [{"contentType": kind, "contentUrl": None, "content": card}],
    }


CHATS: dict[str, Chat] = {"slack": slack, "discord": discord, "teams": teams}


def cut(text: str, most: int) -> str:
    """Return at most so many code points, an ellipsis for what is left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _plain(text: str) -> dict[str, Any]:
    # An empty text is refused.
    return {"type": "plain_text", "text": text or "-", "emoji": False}


def _entities(text: str, most: int) -> str:
    """Return text for Slack: cut first, so that no entity is."""
    return cut(text, most).translate(_ENTITIES)


def _unmarked(text: str, most: int) -> str:
    """Return text in which Markdown finds nothing, about as long as `most`.

    A backslash before a sign at most doubles it.
    """
    return _MARKS.sub(r"\\\1", cut(text, most // 2)) if text else ""
