"""Raw items to jobs, entries and checkpoints, as leniently as can be done honestly.

Shared by every provider of OpenAI's shapes. Every field is optional but an id (and a
job's status); a value of the wrong type reads as absent, unknown fields are kept. Knows
no request and no page.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tunewatch.model import Checkpoint, Entry, Job, JobError
from tunewatch.sources.contract import Unreadable
from tunewatch.sources.openai.lenient import (
    NOT_JSON,
    identifier,
    mapping,
    moment,
    read_object,
    text,
    unknown,
    whole,
)
from tunewatch.sources.openai.metrics import point_of, step_of, values_of

_JOB_FIELDS = frozenset(Job.__struct_fields__) - {"extra"} | {
    "object",
    "user_provided_suffix",
}
_CHECKPOINT_FIELDS = frozenset(
    {
        "object",
        "id",
        "created_at",
        "fine_tuned_model_checkpoint",
        "fine_tuning_job_id",
        "metrics",
        "step_number",
    }
)


class Named(msgspec.Struct, gc=False):
    """A raw item, of which no more is read than its id."""

    id: str


_named = msgspec.json.Decoder(Named)


def identify(raw: bytes) -> str:
    """Return the id of a raw item without decoding the rest. Raises Unreadable."""
    try:
        said = _named.decode(raw).id
    except NOT_JSON:
        said = ""
    # The patient way comes outside of the handler: nothing of the item is chained.
    return said if said.strip() else _id(read_object(raw).get("id"))


def job_of(raw: bytes) -> Job:
    """Return the job of a raw item.

    Raises Unreadable if it is no object or has no id or no status.
    """
    item = read_object(raw)
    job_id = _id(item.get("id"))
    status = identifier(item.get("status"))
    if status is None:
        raise Unreadable(f"job {job_id} has no status")
    said = item.get
    return Job(
        id=job_id,
        status=status,
        created_at=moment(said("created_at")),
        finished_at=moment(said("finished_at")),
        estimated_finish=moment(said("estimated_finish")),
        model=text(said("model")),
        fine_tuned_model=text(said("fine_tuned_model")),
        method=mapping(said("method")),
        hyperparameters=mapping(said("hyperparameters")),
        training_file=text(said("training_file")),
        validation_file=text(said("validation_file")),
        result_files=_texts(said("result_files")),
        trained_tokens=whole(said("trained_tokens")),
        seed=whole(said("seed")),
        # OpenAI's word first: only Azure answers with `suffix`.
        suffix=text(said("user_provided_suffix")) or text(said("suffix")),
        metadata=_metadata(said("metadata")),
        integrations=_items(said("integrations")),
        organization_id=text(said("organization_id")),
        error=_error(said("error")),
        extra=unknown(item, _JOB_FIELDS),
    )


def entry_of(raw: bytes) -> Entry:
    """Return the entry of a raw item. Raises Unreadable if it has no id.

    `created_at` is 0 if the provider does not say when. Metrics without a step stay
    data of the entry.
    """
    item = read_object(raw)
    kind = text(item.get("type")) or "message"
    created_at = moment(item.get("created_at"))
    data = item.get("data")
    return Entry(
        id=_id(item.get("id")),
        created_at=created_at or 0,
        type=kind,
        level=text(item.get("level")) or "info",
        message=_message(item.get("message")),
        data=data,
        point=point_of(data, created_at=created_at) if kind == "metrics" else None,
    )


def checkpoint_of(raw: bytes) -> Checkpoint:
    """Return the checkpoint of a raw item. Raises Unreadable if it has no id."""
    item = read_object(raw)
    metrics = mapping(item.get("metrics")) or {}
    step = step_of(item.get("step_number"))
    return Checkpoint(
        id=_id(item.get("id")),
        step=step_of(metrics.get("step")) if step is None else step,
        created_at=moment(item.get("created_at")),
        model=text(item.get("fine_tuned_model_checkpoint")),
        metrics=values_of(metrics),
        extra=unknown(item, _CHECKPOINT_FIELDS),
    )


def _id(value: object) -> str:
    said = identifier(value)
    if said is None:
        raise Unreadable("an item has no id")
    return said


def _message(value: object) -> str:
    """Return the message; whatever else stands there is shown as it stands."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in _items(value) if isinstance(item, str) and item)


def _items(value: object) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else ()


def _metadata(value: object) -> dict[str, str] | None:
    """Return the labels as strings; what has no plain text is left out."""
    said = mapping(value) or {}
    labels = {
        key: label if isinstance(label, str) else msgspec.json.encode(label).decode()
        for key, label in said.items()
        if isinstance(label, str | int | float)
    }
    return labels or None


def _error(value: object) -> JobError | None:
    """Return why the job failed, None for the empty errors of jobs that did not."""
    if isinstance(value, str):
        return JobError(message=value) if value else None
    said = mapping(value) or {}
    code, message = _word(said.get("code")), _word(said.get("message"))
    if code is None and message is None:
        return None
    return JobError(code=code, message=message, param=_word(said.get("param")))


def _word(value: object) -> str | None:
    """Return a text, or a number as text: some APIs count their errors."""
    number = whole(value)
    return text(value) if number is None else str(number)
