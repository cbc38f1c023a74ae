"""Answers that are not what the API promises: pure changes of a good answer.

Each takes an answer and returns the spoilt one. An answer whose shape does not fit,
such as a single object where a page is spoilt, stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tunewatch.testing.answers import JSON, Answer

Alteration = Callable[[Answer], Answer]

HTML = (
    b"<!DOCTYPE html><html><head><title>Sign in</title></head>"
    b"<body><h1>Please sign in to continue</h1></body></html>"
)


def truncated(answer: Answer) -> Answer:
    """Keep the first half of the body, as a whole answer."""
    return replace(answer, body=answer.body[: len(answer.body) // 2])


def mistyped(content_type: str) -> Alteration:
    """Claim another content type for the same body."""
    return lambda answer: replace(answer, content_type=content_type)


def bare_nan(answer: Answer) -> Answer:
    """Put a NaN, which is not JSON, in place of every training loss and reward."""

    def spoil(item: dict[str, Any]) -> None:
        for values in (item.get("data"), item.get("metrics")):
            if isinstance(values, dict):
                names = values.keys() & {"train_loss", "train_mean_reward"}
                values.update(dict.fromkeys(names, float("nan")))

    return _each(answer, spoil)


def one_malformed(answer: Answer) -> Answer:
    """Put something that is no item in place of the second item of a page."""

    def spoil(page: dict[str, Any]) -> None:
        if page["data"]:
            page["data"][len(page["data"]) > 1] = {"object": 17, "id": None}

    return _page(answer, spoil)


def without_has_more(answer: Answer) -> Answer:
    """Leave out whether there is more."""
    return _page(answer, lambda page: page.pop("has_more", None))


def always_more(answer: Answer) -> Answer:
    """Say that there is more, whatever is true."""
    return _page(answer, lambda page: page.update(has_more=True))


def emptied(answer: Answer) -> Answer:
    """Show no item and say that there is more."""
    return _page(answer, lambda page: page.update(data=[], has_more=True))


def empty_error(answer: Answer) -> Answer:
    """Show `error: {}` on jobs that did not fail, as older jobs have it."""

    def spoil(item: dict[str, Any]) -> None:
        if item.get("object") == "fine_tuning.job" and not item.get("error"):
            item["error"] = {}

    return _each(answer, spoil)


def null_hyperparameters(answer: Answer) -> Answer:
    """Show no hyperparameters on any job."""

    def spoil(item: dict[str, Any]) -> None:
        if item.get("object") == "fine_tuning.job":
            item["hyperparameters"] = None

    return _each(answer, spoil)


def _page(answer: Answer, spoil: Callable[[dict[str, Any]], object]) -> Answer:
    read = _read(answer)
    if not isinstance(read, dict) or not isinstance(read.get("data"), list):
        return answer
    spoil(read)
    return replace(answer, body=json.dumps(read).encode())


def _each(answer: Answer, spoil: Callable[[dict[str, Any]], object]) -> Answer:
    read = _read(answer)
    if not isinstance(read, dict):
        return answer
    items = read["data"] if isinstance(read.get("data"), list) else [read]
    for item in items:
        if isinstance(item, dict):
            spoil(item)
    return replace(answer, body=json.dumps(read).encode())


def _read(answer: Answer) -> Any:
    if answer.content_type != JSON or answer.status != 200:
        return None
    return json.loads(answer.body)
