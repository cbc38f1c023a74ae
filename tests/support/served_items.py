"""Jobs, events and checkpoints word for word, as an API would answer them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tunewatch.testing import Fault
from tunewatch.testing.answers import Answer


def job_item(
    job_id: str, created_at: float, status: str = "running", **more: Any
) -> dict[str, Any]:
    """Return a job object."""
    return {
        "object": "fine_tuning.job",
        "id": job_id,
        "status": status,
        "model": "gpt-4.1-nano-2025-04-14",
        "created_at": int(created_at),
        "finished_at": None,
        "fine_tuned_model": None,
        "organization_id": "org-acme",
        "result_files": [],
        "training_file": "file-train",
        "validation_file": "file-valid",
        "hyperparameters": {"n_epochs": 3},
        "trained_tokens": None,
        "error": None,
        "seed": 1,
        "integrations": [],
        "method": {"type": "supervised"},
        **more,
    }


def ended_item(
    job_id: str, created_at: float, status: str = "failed", **more: Any
) -> dict[str, Any]:
    """Return the object of a job that ended a minute after its creation."""
    return job_item(
        job_id, created_at, status, **{"finished_at": int(created_at) + 60, **more}
    )


def message_item(
    number: int, at: float, text: str = "", *, of: str = "e"
) -> dict[str, Any]:
    """Return a message event; its id is `<of>-<number>`."""
    return {
        "object": "fine_tuning.job.event",
        "id": f"{of}-{number}",
        "created_at": int(at),
        "level": "info",
        "message": text or f"message {number}",
        "data": {},
        "type": "message",
    }


def metrics_item(
    step: int, at: float, *, of: str = "m", **values: float
) -> dict[str, Any]:
    """Return a metrics event; its id is `<of>-<step>`."""
    data = {"step": step, "total_steps": 100, **(values or {"train_loss": 1 / step})}
    return {**message_item(step, at, of=of), "type": "metrics", "data": data}


def checkpoint_item(
    step: int, at: float, job_id: str, **metrics: float
) -> dict[str, Any]:
    """Return a checkpoint object; its id is `ckpt-<step>`."""
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": f"ckpt-{step}",
        "created_at": int(at),
        "fine_tuned_model_checkpoint": f"ft:nano:acme::x:ckpt-step-{step}",
        "fine_tuning_job_id": job_id,
        "metrics": {"step": step, **metrics},
        "step_number": step,
    }


def laid_over(name: str, job_id: str, **fields: Any) -> Fault:
    """Return a fault that makes answers say something else of one job."""

    def alter(answer: Answer) -> Answer:
        said = json.loads(answer.body)
        for item in said.get("data", [said]):
            if item.get("id") == job_id:
                item.update(fields)
        return replace(answer, body=json.dumps(said).encode())

    return Fault.altered(name, alter)
