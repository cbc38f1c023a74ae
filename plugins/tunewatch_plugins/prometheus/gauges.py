"""The numbers shown of each job: what each is called and where it comes from."""

from __future__ import annotations

from collections.abc import Callable

from tunewatch.model import Job, finite
from tunewatch.plugin import JobRow
from tunewatch_plugins.prometheus.jobs import JobGauge


def _time(name: str, what: str, read: Callable[[JobRow], int | None]) -> JobGauge:
    help_text = f"{what}, unix seconds."
    return JobGauge(f"tunewatch_job_{name}_timestamp_seconds", help_text, read)


def _curve(name: str, key: str, what: str, *, also: str | None = None) -> JobGauge:
    """Show a metric's value at the highest step that has it."""

    def read(row: JobRow) -> float | None:
        value = row.latest.get(key)
        return row.latest.get(also) if value is None and also else value

    help_text = f"{what}, at the highest step that has it, API field {key}."
    return JobGauge(f"tunewatch_job_{name}", help_text, read)


def _finished_at(row: JobRow) -> int | None:
    if row.job.finished_at is not None or not row.job.state.is_terminal:
        return row.job.finished_at
    # Jobs that failed validation have none, and alerts compare with it.
    return row.status_changed_at


def _estimated_finish(row: JobRow) -> int | None:
    # Azure leaves one behind that may be a month after the end.
    return None if row.job.state.is_terminal else row.job.estimated_finish


def _epoch(row: JobRow) -> float | None:
    epochs = finite(_hyperparameter(row.job, "n_epochs"))
    # -1 and "auto" leave it to the provider.
    if epochs is None or epochs <= 0 or row.step is None or not row.total_steps:
        return None
    return row.step / row.total_steps * epochs


def _hyperparameter(job: Job, name: str) -> object:
    by_method = (job.method or {}).get(job.training_method)
    if isinstance(by_method, dict):
        nested = by_method.get("hyperparameters")
        if isinstance(nested, dict) and name in nested:
            return nested[name]
    return (job.hyperparameters or {}).get(name)


TIMES = (
    _time(
        "created",
        "When the job was created, API field created_at",
        lambda row: row.job.created_at,
    ),
    _time(
        "started",
        "When the job was first seen running, API field status",
        lambda row: row.started_at,
    ),
    _time(
        "finished",
        "When the job ended, API field finished_at, else when its end was seen",
        _finished_at,
    ),
    _time(
        "estimated_finish",
        "When a job that goes on may end, API field estimated_finish",
        _estimated_finish,
    ),
    _time(
        "status_changed",
        "When the status last changed, API field status",
        lambda row: row.status_changed_at,
    ),
    _time(
        "last_event",
        "When the newest event of the job was made, API field created_at of events",
        lambda row: row.last_event_at,
    ),
)
"""Timestamps, never ages."""

PROGRESS = (
    JobGauge(
        "tunewatch_job_step",
        "Highest training step seen, API field step of events.",
        lambda row: row.step,
    ),
    JobGauge(
        "tunewatch_job_expected_steps",
        "Training steps the job will take, API field total_steps of events.",
        lambda row: row.total_steps,
    ),
    JobGauge(
        "tunewatch_job_epoch",
        "Epochs passed, from step, total_steps and the API field n_epochs.",
        _epoch,
    ),
    JobGauge(
        "tunewatch_job_trained_tokens",
        "Tokens trained on and billed, API field trained_tokens.",
        lambda row: row.job.trained_tokens,
    ),
)
"""How far a job is."""

CURVES = (
    _curve("train_loss", "train_loss", "Training loss of one batch"),
    _curve("valid_loss", "valid_loss", "Validation loss of one batch"),
    _curve(
        "full_valid_loss",
        "full_valid_loss",
        "Validation loss over the whole validation set",
    ),
    _curve(
        "train_token_accuracy_ratio",
        "train_mean_token_accuracy",
        "Share of training tokens predicted right in one batch, 0 to 1",
    ),
    _curve(
        "valid_token_accuracy_ratio",
        "valid_mean_token_accuracy",
        "Share of validation tokens predicted right in one batch, 0 to 1",
    ),
    _curve(
        "full_valid_token_accuracy_ratio",
        "full_valid_mean_token_accuracy",
        "Share of all validation tokens predicted right, 0 to 1",
    ),
    _curve(
        "train_mean_reward",
        "train_mean_reward",
        "Mean reward of a training batch",
        # The API has two names for this one.
        also="scores.train_reward_mean",
    ),
    _curve(
        "full_valid_mean_reward",
        "full_valid_mean_reward",
        "Mean reward over the whole validation set",
    ),
)
"""Metrics that the provider records."""
