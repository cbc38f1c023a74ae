"""Decodes what is stored of jobs into what is shown of each among thousands.

Many at once, by the shapes that are usual, reading no more than is shown. If one has
another shape they are decoded one by one, and that one whole. Both ways say the same.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tunewatch.events import CheckpointSelected
from tunewatch.glance import BestGlance, JobGlance, epochs, glance, text
from tunewatch.model import Job
from tunewatch.store.gathered import Gathered, Named
from tunewatch.store.overview import job_row

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


_Bodies = tuple[_View, _State, _Selection | None]

_views = msgspec.json.Decoder(list[_View])
_states = msgspec.json.Decoder(list[_State])
_selections = msgspec.json.Decoder(list[_Selection | None])
_objects = msgspec.json.Decoder(_Object | None)


def glances(found: Gathered) -> dict[int, JobGlance]:
    """Return jobs at a glance, by their keys."""
    try:
        return _usual(found)
    except msgspec.ValidationError:
        jobs = [_glance(alone) for alone in found.apart()]
        return dict(chain.from_iterable(one.items() for one in jobs))


def _usual(found: Gathered) -> dict[int, JobGlance]:
    bodies = zip(
        _views.decode(found.views),
        _states.decode(found.states),
        _selections.decode(found.selections),
        strict=True,
    )
    jobs = zip(found.sources, found.realms, found.sequences, bodies, strict=True)
    return {key: _shown(*job) for key, job in zip(found.keys, jobs, strict=True)}


def _shown(source: Named, realm: str, sequence: int, bodies: _Bodies) -> JobGlance:
    job, seen, chosen = bodies
    method, n_epochs = _training(bytes(job.method), bytes(job.hyperparameters))
    ended = job.finished_at
    is_history = seen.silent or (ended is not None and ended < source.first_contact_at)
    # By place: names would cost more than all of the decoding of the view.
    return JobGlance(
        source.name,
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
        None if chosen is None else _best(chosen),
        not is_history,
        sequence,
    )


@lru_cache(maxsize=1024)
def _training(method: bytes, hyperparameters: bytes) -> tuple[str, float | None]:
    """Return the training method and the epochs: nearly all jobs say one of a few."""
    said = _objects.decode(method) if method else None
    own = _objects.decode(hyperparameters) if hyperparameters else None
    return Job(id="", status="", method=said).training_method, epochs(said, own)


def _best(chosen: _Selection) -> BestGlance | None:
    if chosen.type != CheckpointSelected.TYPE:
        return None
    said, checkpoint = chosen.data, chosen.data.checkpoint
    return BestGlance(
        checkpoint.id,
        checkpoint.fine_tuned_model_checkpoint,
        checkpoint.step_number,
        said.metric,
        said.value,
        said.decision,
    )


def _glance(found: Gathered) -> dict[int, JobGlance]:
    try:
        return _usual(found)
    except msgspec.ValidationError:
        return {row.key: glance(job_row(row)) for row in found.stored()}
