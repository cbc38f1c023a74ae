"""The numbers shown of each job: what each is called and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from tunewatch.plugin import JobGlance
from tunewatch_plugins.prometheus.jobs import JobCurve, JobGauge, has_ended


def _time(name: str, what: str, read: Callable[[JobGlance], int | None]) -> JobGauge:
    help_text = f"{what}, unix seconds."
    return JobGauge(f"tunewatch_job_{name}_timestamp_seconds", help_text, read)


def _curve(name: str, key: str, what: str, *, also: str | None = None) -> JobCurve:
    help_text = f"{what}, at the highest step that has it, API field {key}."
    keys = (key,) if also is None else (key, also)
    return JobCurve(f"tunewatch_job_{name}", help_text, keys)


def _finished_at(job: JobGlance) -> int | None:
    if job.finished_at or not has_ended(job.status):
        return job.finished_at or None
    # Jobs that failed validation have none, and alerts compare with it.
    return job.status_changed_at


def _estimated_finish(job: JobGlance) -> int | None:
    # Azure leaves one behind that may be a month after the end.
    return None if has_ended(job.status) else job.estimated_finish or None


def _epoch(job: JobGlance) -> float | None:
    if job.step is None or not job.total_steps or not job.n_epochs:
        return None
    return job.step * job.n_epochs / job.total_steps


TIMES = (
    _time(
        "created",
        "When the job was created, API field created_at",
        lambda job: job.created_at or None,  # an API may say 0 for nothing
    ),
    _time(
        "started",
        "When the job was first seen running, API field status",
        attrgetter("started_at"),
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
        attrgetter("status_changed_at"),
    ),
    _time(
        "last_event",
        "When the newest event of the job was made, API field created_at of events",
        attrgetter("last_event_at"),
    ),
)
"""Timestamps, never ages."""

PROGRESS = (
    JobGauge(
        "tunewatch_job_step",
        "Highest training step seen, API field step of events.",
        attrgetter("step"),
    ),
    JobGauge(
        "tunewatch_job_expected_steps",
        "Training steps the job will take, API field total_steps of events.",
        attrgetter("total_steps"),
    ),
    JobGauge(
        "tunewatch_job_epoch",
        "Epochs passed, from step, total_steps and the API field n_epochs.",
        _epoch,
    ),
    JobGauge(
        "tunewatch_job_trained_tokens",
        "Tokens trained on, API field trained_tokens.",
        attrgetter("trained_tokens"),
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
