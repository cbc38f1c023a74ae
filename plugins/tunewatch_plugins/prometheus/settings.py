"""What can be set, and how its values are written.

Knows nothing of jobs.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
)

from tunewatch_plugins.prometheus.exposition import label_name

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(written: object) -> float:
    """Return the seconds of a duration such as `200ms`, `15s`, `5m`, `2h` or `30d`.

    Raises ValueError, without repeating what was written.
    """
    # A default, or a value that was read before, is seconds already.
    if isinstance(written, float) and written >= 0:
        return written
    found = _DURATION.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise ValueError("wanted a duration such as 200ms, 15s, 5m, 2h or 30d")
    return float(found[1]) * _SECONDS[found[2]]


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    WithJsonSchema({"type": "string", "format": "duration"}),
]


class Settings(BaseModel):
    """What is shown of which jobs; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Duration = 3600.0
    """How long finished jobs stay; failed ones stay an hour at the least."""
    max_jobs: int = Field(default=1000, ge=1, le=50_000)
    """Jobs with series of their own, about 30 each; unfinished ones come first. What
    is left out is counted in `tunewatch_jobs_hidden` and stays in all aggregates."""
    metadata_labels: tuple[str, ...] = ()
    """Keys of a job's metadata that become labels `metadata_<key>` of its info."""
    sparse_status: bool = False
    """Leave out the zeros of `tunewatch_job_status`: a third fewer series."""

    @field_validator("metadata_labels")
    @classmethod
    def _make_different_labels(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        seen: dict[str, str] = {}
        for key in keys:
            label = label_name("metadata_" + key)
            if label in seen:
                raise ValueError(
                    f"two keys would make the same label {label}: name one of them"
                )
            seen[label] = key
        return keys
