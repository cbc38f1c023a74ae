"""Jobs as an overview shows them, made to measure."""

from __future__ import annotations

from typing import Any

from tunewatch.events import CheckpointSelected
from tunewatch.model import Job, Selection
from tunewatch.plugin import JobRow

BEGAN = 1_723_205_158


def selection(
    value: float = 0.053, metric: str = "full_valid_loss", **checkpoint: Any
) -> Selection:
    """Return what the reactor would have said of step 200."""
    chosen = {
        "id": "ftckpt-200",
        "step_number": 200,
        "fine_tuned_model_checkpoint": "ft:gpt-4o-mini:org::id:ckpt-step-200",
        **checkpoint,
    }
    data = {
        "checkpoint": chosen,
        "decision": "provisional",
        "metric": metric,
        "value": value,
    }
    return Selection(
        type=CheckpointSelected.TYPE, event_id="evt_1", created_at=BEGAN, data=data
    )


def job_row(
    job_id: str = "ftjob-1",
    status: str = "running",
    *,
    source: str = "research",
    job: dict[str, Any] | None = None,
    **row: Any,
) -> JobRow:
    """Return a running job in the middle of its training."""
    fields: dict[str, Any] = {
        "created_at": BEGAN,
        "model": "gpt-4o-mini-2024-07-18",
        "method": {"type": "supervised"},
        "hyperparameters": {"n_epochs": 3},
        "suffix": "pinolo",
        "trained_tokens": 379446,
        **(job or {}),
    }
    facts: dict[str, Any] = {
        "realm": "openai",
        "settled": False,
        "started_at": BEGAN + 60,
        "status_changed_at": BEGAN + 60,
        "last_event_at": BEGAN + 600,
        "step": 150,
        "total_steps": 300,
        "latest": {
            "train_loss": 0.25,
            "valid_loss": 0.5,
            "full_valid_loss": 0.0531,
            "train_mean_token_accuracy": 0.875,
            "valid_mean_token_accuracy": 0.75,
            "full_valid_mean_token_accuracy": 0.67,
        },
        "selection": None,
        "revision": 1,
        **row,
    }
    return JobRow(source=source, job=Job(id=job_id, status=status, **fields), **facts)
