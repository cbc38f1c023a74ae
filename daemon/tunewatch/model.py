"""The facts of fine-tuning in neutral form: jobs, entries, points, checkpoints.

Knows no provider, no wire, no clock and no storage. Field names are OpenAI's, because
every compatible API uses them; a value the API may add tomorrow is kept verbatim.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field


class JobStatus(StrEnum):
    """What a job is doing, by the words of OpenAI and Azure.

    A word that is not here reads as `UNKNOWN`, which is not terminal; the verbatim
    word stays in `Job.status`. Source: fine-tuning API reference and Azure's CLI.
    """

    VALIDATING_FILES = "validating_files"
    PENDING = "pending"  #: Azure: accepted, not started
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"  #: Azure
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  #: a word this version has not heard of

    @classmethod
    def _missing_(cls, value: object) -> JobStatus:  # noqa: ARG003 (enum's signature)
        return cls.UNKNOWN

    @property
    def is_terminal(self) -> bool:
        """Whether the provider says that the job has ended: a positive list."""
        return self in _TERMINAL

    @property
    def is_waiting(self) -> bool:
        """Whether the job is in line and no metrics can come yet."""
        return self in _WAITING


_TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
_WAITING = frozenset(
    {JobStatus.VALIDATING_FILES, JobStatus.PENDING, JobStatus.QUEUED, JobStatus.PAUSED}
)


class JobError(Struct, frozen=True, kw_only=True):
    """Why a job failed. Exists only if the provider gave a code or a message."""

    code: str | None = None
    message: str | None = None
    param: str | None = None


class Job(Struct, frozen=True, kw_only=True):
    """One fine-tuning job as the provider describes it now.

    Every field but `id` and `status` may be absent at some provider; absent is None.
    """

    id: str
    status: str  #: verbatim; compare `state`
    created_at: int | None = None  #: unix seconds
    finished_at: int | None = None  #: unix seconds; null on jobs that failed validation
    estimated_finish: int | None = None  #: unix seconds; Azure keeps a stale one
    model: str | None = None  #: the base model, may itself be a fine-tuned one
    fine_tuned_model: str | None = None
    method: dict[str, Any] | None = None
    hyperparameters: dict[str, Any] | None = None
    training_file: str | None = None
    validation_file: str | None = None
    result_files: tuple[str, ...] = ()
    trained_tokens: int | None = None
    seed: int | None = None
    suffix: str | None = None
    metadata: dict[str, str] | None = None
    integrations: tuple[Any, ...] = ()
    organization_id: str | None = None
    error: JobError | None = None
    extra: dict[str, Any] = field(default_factory=dict)  #: fields unknown to us

    @property
    def state(self) -> JobStatus:
        """The status as a member, `UNKNOWN` for a word we have not heard of."""
        return JobStatus(self.status)

    def ended_before(self, moment: float) -> bool:
        """Whether the provider says that the job ended before some unix seconds."""
        return self.finished_at is not None and self.finished_at < moment

    @property
    def training_method(self) -> str:
        """`supervised`, `dpo`, `reinforcement` or the provider's own word.

        Jobs older than the field are supervised.
        """
        kind = (self.method or {}).get("type")
        return kind if isinstance(kind, str) and kind else "supervised"


class MetricPoint(Struct, frozen=True, kw_only=True):
    """The finite metric values that belong to one training step."""

    step: int
    values: dict[str, float]
    total_steps: int | None = None
    created_at: int | None = None  #: unix seconds; None if read from a result file
    n: int = 0  #: ordinal within the job, given at commit, from 1


class Entry(Struct, frozen=True, kw_only=True):
    """One item of a job's event list: a message, or the metrics of a step."""

    id: str
    created_at: int  #: unix seconds; many may share one; 0: the provider does not say
    type: str = "message"  #: the provider's word, verbatim
    level: str = "info"
    message: str = ""
    data: Any = None
    point: MetricPoint | None = None  #: set if the entry is metrics of a step


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A model saved at a step, usable on its own."""

    id: str
    step: int | None = None
    created_at: int | None = None
    model: str | None = None  #: `fine_tuned_model_checkpoint`
    metrics: dict[str, float] = field(default_factory=dict)  #: finite values only
    extra: dict[str, Any] = field(default_factory=dict)


class Candidate(Struct, frozen=True, kw_only=True):
    """A checkpoint considered by the selection."""

    checkpoint_id: str
    step: int | None
    model: str | None
    value: float | None  #: None: no full metric is known at its step
    origin: str | None = None  #: where the value came from: checkpoint, event


class Selection(Struct, frozen=True, kw_only=True):
    """What a reactor last concluded about a job's best checkpoint."""

    type: str  #: the event type that said it
    event_id: str
    created_at: int
    data: dict[str, Any]


class Snapshot(Struct, frozen=True, kw_only=True):
    """Everything known of one job at one revision."""

    source: str
    realm: str
    revision: int
    job: Job
    settled: bool
    removed: bool
    points: tuple[MetricPoint, ...]
    checkpoints: tuple[Checkpoint, ...]
    selection: Selection | None


def finite(value: object) -> float | None:
    """Return value as a float if it is a finite number, else None.

    NaN and infinity are "no value", never 0; booleans are not numbers here.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the range of a double
        return None
    return number if math.isfinite(number) else None


def job_object(job: Job) -> dict[str, Any]:
    """Return the job under the provider's field names, absent = null.

    Unknown fields are kept; a known field always wins over an unknown one.
    """
    error = job.error
    return {
        **job.extra,
        "object": "fine_tuning.job",
        "id": job.id,
        "created_at": job.created_at,
        "error": None
        if error is None
        else {"code": error.code, "message": error.message, "param": error.param},
        "fine_tuned_model": job.fine_tuned_model,
        "finished_at": job.finished_at,
        "hyperparameters": job.hyperparameters,
        "model": job.model,
        "organization_id": job.organization_id,
        "result_files": list(job.result_files),
        "status": job.status,
        "trained_tokens": job.trained_tokens,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "integrations": list(job.integrations),
        "seed": job.seed,
        "estimated_finish": job.estimated_finish,
        "method": job.method,
        "metadata": job.metadata,
        "suffix": job.suffix,
    }


def checkpoint_object(checkpoint: Checkpoint, job_id: str) -> dict[str, Any]:
    """Return the checkpoint under the provider's field names, absent = null."""
    return {
        **checkpoint.extra,
        "object": "fine_tuning.job.checkpoint",
        "id": checkpoint.id,
        "created_at": checkpoint.created_at,
        "fine_tuned_model_checkpoint": checkpoint.model,
        "fine_tuning_job_id": job_id,
        "metrics": checkpoint.metrics,
        "step_number": checkpoint.step,
    }


def is_said(value: object) -> bool:
    """Whether a field says anything: missing, null and empty all say nothing."""
    return value is not None and value not in ("", [], {}, ())


_WHOLE = frozenset({"metadata"})
"""Objects whose keys belong to the user: an answer that has them has them whole."""


def overlay(
    kept: Mapping[str, Any], said: Mapping[str, Any], *, forget: Collection[str] = ()
) -> dict[str, Any]:
    """Lay a new answer over the kept item, key by key, objects within objects too.

    List and retrieve answers differ in shape: what an answer does not say stays.
    `forget` names keys that are dropped first.
    """
    laid = {key: value for key, value in kept.items() if key not in forget}
    for key, value in said.items():
        if not is_said(value):
            continue
        before = laid.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            laid[key] = value if key in _WHOLE else overlay(before, value)
        else:
            laid[key] = value
    return laid
