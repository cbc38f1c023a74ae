"""Which fields of a job changed, of those that people are told about.

Compares two decoded jobs; knows nothing of answers, order or time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tunewatch.model import Job

UPDATED_FIELDS = (
    "model",
    "fine_tuned_model",
    "training_file",
    "validation_file",
    "result_files",
    "hyperparameters",
    "method",
    "seed",
    "suffix",
    "metadata",
    "integrations",
    "error",
)
"""The closed list: a change of one of these is told by `tunewatch.job.updated`."""

TRAVELLING_FIELDS = (*UPDATED_FIELDS, "finished_at", "trained_tokens")
"""What travels with a change of status. The last two are silent otherwise."""


def changes(
    before: Job, after: Job, fields: tuple[str, ...] = UPDATED_FIELDS
) -> dict[str, dict[str, Any]]:
    """Return `{field: {"before": …, "after": …}}` for the fields that differ."""
    return {
        name: {
            "before": msgspec.to_builtins(getattr(before, name)),
            "after": msgspec.to_builtins(getattr(after, name)),
        }
        for name in fields
        if getattr(before, name) != getattr(after, name)
    }
