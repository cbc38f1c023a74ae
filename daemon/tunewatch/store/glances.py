"""Decodes a job's row into what is shown of it among thousands.

By the shapes that are usual, reading no more than is shown; a row of another shape is
decoded whole. Both ways say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tunewatch.events import CheckpointSelected
from tunewatch.glance import BestGlance, JobGlance, epochs, glance, text
from tunewatch.model import Job
from tunewatch.store.overview import job_row
from tunewatch.store.windows import Stored

_Object = dict[str, Any]


class _Extra(Struct, frozen=True, gc=False):
    project_id: Any = None


class _Error(Struct, frozen=True, gc=False):
    code: str | None = None


class _View(Struct, frozen=True, gc=False):
    """Of `model.Job`."""

    id: str
    status: str
    created_at: int | None = None
    finished_at: int | None = None
    estimated_finish: int | None = None
    model: str | None = None
    fine_tuned_model: str | None = None
    method: Raw = Raw()
    hyperparameters: Raw = Raw()
    suffix: str | None = None
    metadata: dict[str, str] | None = None
    organization_id: str | None = None
    trained_tokens: int | None = None
    error: _Error | None = None
    extra: _Extra = _Extra()


class _Latest(Struct, array_like=True, frozen=True, gc=False):
    step: int
    value: float


class _State(Struct, frozen=True, gc=False):
    """Of `diff.JobState`."""

    silent: bool = False
    started_at: int | None = None
    status_changed_at: int | None = None
    last_event_at: int | None = None
    step: int | None = None
    total_steps: int | None = None
    latest: dict[str, _Latest] = {}


class _Checkpoint(Struct, frozen=True, gc=False):
    id: str | None = None
    step_number: float | None = None
    fine_tuned_model_checkpoint: str | None = None


class _Chosen(Struct, frozen=True, gc=False):
    checkpoint: _Checkpoint = _Checkpoint()
    metric: str | None = None
    value: float | None = None
    decision: str | None = None


class _Selection(Struct, frozen=True, gc=False):
    """Of `model.Selection`."""

    type: str
    data: _Chosen


_view = msgspec.json.Decoder(_View).decode
_state = msgspec.json.Decoder(_State).decode
_selection = msgspec.json.Decoder(_Selection).decode
_objects = msgspec.json.Decoder(_Object | None)


def glances(found: Sequence[Any]) -> list[JobGlance]:
    """Return rows of `windows.rows` at a glance."""
    try:
        return [_usual(row) for row in found]
    except msgspec.ValidationError:
        return [_glance(row) for row in found]


def _glance(found: Any) -> JobGlance:
    try:
        return _usual(found)
    except msgspec.ValidationError:
        return glance(job_row(Stored._make(found)))


def _usual(found: Any) -> JobGlance:
    # By place: by name each value would cost as much as decoding a small object.
    _, source, first_contact_at, realm, view, state, chosen, _, sequence = found
    job, seen = _view(view), _state(state)
    method, n_epochs = _training(bytes(job.method), bytes(job.hyperparameters))
    ended = job.finished_at
    is_history = seen.silent or (ended is not None and ended < first_contact_at)
    # By place: names would cost more than all of the decoding of the view.
    return JobGlance(
        source,
        realm,
        job.id,
        job.status,
        job.created_at,
        ended,
        job.estimated_finish,
        job.model,
        job.fine_tuned_model,
        method,
        n_epochs,
        job.suffix,
        job.metadata,
        job.organization_id,
        text(job.extra.project_id),
        job.trained_tokens,
        None if job.error is None else job.error.code,
        seen.started_at,
        seen.status_changed_at,
        seen.last_event_at,
        seen.step,
        seen.total_steps,
        {key: latest.value for key, latest in seen.latest.items()},
        _best(chosen),
        not is_history,
        sequence,
    )


@lru_cache(maxsize=1024)
def _training(method: bytes, hyperparameters: bytes) -> tuple[str, float | None]:
    """Return the training method and the epochs: nearly all jobs say one of a few."""
    said = _objects.decode(method) if method else None
    own = _objects.decode(hyperparameters) if hyperparameters else None
    return Job(id="", status="", method=said).training_method, epochs(said, own)


def _best(chosen: bytes | None) -> BestGlance | None:
    if not chosen:
        return None
    selection = _selection(chosen)
    if selection.type != CheckpointSelected.TYPE:
        return None
    said, checkpoint = selection.data, selection.data.checkpoint
    return BestGlance(
        checkpoint.id,
        checkpoint.fine_tuned_model_checkpoint,
        checkpoint.step_number,
        said.metric,
        said.value,
        said.decision,
    )
