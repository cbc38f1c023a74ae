"""Jobs as overviews show them: one in full, thousands at a glance.

A glance is flat, holds nothing that the collector of garbage would have to look at but
two dicts, and costs a fifth of the whole: of thousands of jobs that is what counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from tunewatch.events import CheckpointSelected
from tunewatch.model import Job, Selection, finite


class JobRow(Struct, frozen=True, kw_only=True):
    """One job as a list shows it."""

    source: str
    realm: str
    job: Job
    settled: bool
    started_at: int | None  #: unix seconds when it was first seen running
    status_changed_at: int | None  #: unix seconds
    last_event_at: int | None  #: unix seconds of the newest API event
    step: int | None  #: highest step seen
    total_steps: int | None
    latest: Mapping[str, float]  #: per metric, at the highest step that has it
    selection: Selection | None
    revision: int
    is_counted: bool = True  #: in the totals; not so if it ended before first contact
    sequence: int = 0  #: of its last event, as that event's `data` has it


class BestGlance(Struct, frozen=True, gc=False):
    """The checkpoint that was last selected; what is no text or no number is None."""

    checkpoint_id: str | None
    checkpoint_model: str | None
    step: float | None
    metric: str | None
    value: float | None
    decision: str | None


class JobGlance(Struct, frozen=True, gc=False):
    """What is shown of one among thousands of jobs; every number is a finite one.

    Fields of `model.Job` and of `JobRow` under their names there.
    """

    source: str
    realm: str
    id: str
    status: str  #: verbatim
    created_at: int | None
    finished_at: int | None
    estimated_finish: int | None
    model: str | None
    fine_tuned_model: str | None
    method: str  #: see `model.Job.training_method`
    n_epochs: float | None  #: None where the provider decides
    suffix: str | None
    metadata: Mapping[str, str] | None
    organization_id: str | None
    project_id: str | None
    trained_tokens: int | None
    error_code: str | None
    started_at: int | None
    status_changed_at: int | None
    last_event_at: int | None
    step: int | None
    total_steps: int | None
    latest: Mapping[str, float]
    best: BestGlance | None
    is_counted: bool
    sequence: int = 0


class JobKind(NamedTuple):
    """What jobs are counted by where nobody needs more of them."""

    source: str
    status: str  #: verbatim
    model: str | None
    method: str  #: see `model.Job.training_method`


class WindowPart(NamedTuple):
    """Some jobs of a window."""

    jobs: Sequence[JobGlance]
    hidden: Mapping[JobKind, int]  #: how many there are of each kind beyond the limit


def glance(row: JobRow) -> JobGlance:
    """Return what is shown of a job among thousands."""
    job = row.job
    return JobGlance(
        source=row.source,
        realm=row.realm,
        id=job.id,
        status=job.status,
        created_at=job.created_at,
        finished_at=job.finished_at,
        estimated_finish=job.estimated_finish,
        model=job.model,
        fine_tuned_model=job.fine_tuned_model,
        method=job.training_method,
        n_epochs=epochs(job.method, job.hyperparameters),
        suffix=job.suffix,
        metadata=job.metadata,
        organization_id=job.organization_id,
        project_id=text(job.extra.get("project_id")),
        trained_tokens=_whole(job.trained_tokens),
        error_code=None if job.error is None else job.error.code,
        started_at=row.started_at,
        status_changed_at=row.status_changed_at,
        last_event_at=row.last_event_at,
        step=row.step,
        total_steps=row.total_steps,
        latest={
            key: number
            for key, value in row.latest.items()
            if (number := finite(value)) is not None
        },
        best=_best(row.selection),
        is_counted=row.is_counted,
        sequence=row.sequence,
    )


def _best(selection: Selection | None) -> BestGlance | None:
    if selection is None or selection.type != CheckpointSelected.TYPE:
        return None
    said, checkpoint = selection.data, selection.data.get("checkpoint")
    of: Mapping[str, Any] = checkpoint if isinstance(checkpoint, Mapping) else {}
    return BestGlance(
        checkpoint_id=text(of.get("id")),
        checkpoint_model=text(of.get("fine_tuned_model_checkpoint")),
        step=finite(of.get("step_number")),
        metric=text(said.get("metric")),
        value=finite(said.get("value")),
        decision=text(said.get("decision")),
    )


def _whole(value: int | None) -> int | None:
    """Return a number unless it is beyond what a float can tell."""
    return None if finite(value) is None else value


def text(value: object) -> str | None:
    """Return a text, None for anything else."""
    return value if isinstance(value, str) else None


def epochs(
    method: Mapping[str, Any] | None, hyperparameters: Mapping[str, Any] | None
) -> float | None:
    """Return the epochs a job is to take, None for `auto`, -1 and the like."""
    said = (hyperparameters or {}).get("n_epochs")
    nested = (method or {}).get(str((method or {}).get("type") or "supervised"))
    if isinstance(nested, Mapping):
        own = nested.get("hyperparameters")
        if isinstance(own, Mapping) and "n_epochs" in own:
            said = own["n_epochs"]
    number = finite(said)
    return number if number is not None and number > 0 else None
