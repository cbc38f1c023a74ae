"""How Azure's jobs and events differ from OpenAI's, and what its users have to do.

Pure. `-1` reads as "auto", an estimate that outlived its job as none, and metrics
that stand in the text alone are read from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from tunewatch.model import Entry, Job, MetricPoint, finite
from tunewatch.sources.openai.decode import entry_of as openai_entry
from tunewatch.sources.openai.decode import job_of as openai_job
from tunewatch.sources.openai.dialect import Dialect
from tunewatch.sources.openai.metrics import step_of

AUTO = "auto"

_STEP = re.compile(r"Step (\d{1,15})(?:/(\d{1,15}))?\s*[:,]\s*(.+)")
_NAMES = {
    "training loss": "train_loss",
    "validation loss": "valid_loss",
    "full validation loss": "full_valid_loss",
    "train mean reward": "train_mean_reward",
    "full validation mean reward": "full_valid_mean_reward",
    "full validation mean parse error": "full_valid_mean_parse_error",
}


def job_of(raw: bytes) -> Job:
    """Return the job of a raw item, in the words that OpenAI uses for the same.

    Raises Unreadable if it is no object or has no id or no status.
    """
    job = openai_job(raw)
    return replace(
        job,
        hyperparameters=_with_auto(job.hyperparameters),
        method=_method_with_auto(job.method),
        # Azure leaves one behind that may be a month after the end.
        estimated_finish=None if job.state.is_terminal else job.estimated_finish,
    )


def entry_of(raw: bytes) -> Entry:
    """Return the entry of a raw item. Raises Unreadable if it has no id.

    The numbers of a step are those of `data`; only where there are none they are taken
    from the text, which gives them in full.
    """
    entry = openai_entry(raw)
    if entry.type != "metrics" or entry.point is not None:
        return entry
    point = _point_in(entry.message, entry.created_at or None)
    return entry if point is None else replace(entry, point=point)


def _point_in(message: str, created_at: int | None) -> MetricPoint | None:
    """Return the point that a text such as `Step 10: training loss=0.73` tells."""
    said = _STEP.fullmatch(message.strip())
    if said is None:
        return None
    step, values = step_of(int(said[1])), _values_in(said[3])
    if step is None or not values:
        return None
    total = step_of(int(said[2])) if said[2] else None
    return MetricPoint(
        step=step, total_steps=total, created_at=created_at, values=values
    )


def _values_in(text: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        known, value = _NAMES.get(name.strip().lower()), _number(number)
        if known is not None and value is not None:
            values[known] = value
    return values


def _number(text: str) -> float | None:
    """Return a finite number; C# writes small ones as `3.814697265625E-06`."""
    try:
        return finite(float(text))
    except ValueError:
        return None


def _method_with_auto(method: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the method with `auto` in the hyperparameters of its own table."""
    if method is None:
        return None
    return {
        name: {**about, "hyperparameters": _with_auto(about["hyperparameters"])}
        if isinstance(about, Mapping)
        and isinstance(about.get("hyperparameters"), Mapping)
        else about
        for name, about in method.items()
    }


def _with_auto(hyperparameters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if hyperparameters is None:
        return None
    return {
        name: AUTO if finite(value) == -1 else value
        for name, value in hyperparameters.items()
    }


AZURE = Dialect(
    provider="azure",
    job_of=job_of,
    entry_of=entry_of,
    address="endpoint and api_version",
    advice={
        401: "the key or token is refused: check it, and that it is of this resource",
        403: "this identity may not do this: it needs a role that reads fine-tuning "
        "jobs and files, and the network must let it in",
    },
    files_grow=True,
)
"""Azure's."""
