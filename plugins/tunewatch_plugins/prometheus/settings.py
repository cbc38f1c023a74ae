"""What can be set, and how its values are written.

Knows nothing of jobs.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

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


Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """What is shown of which jobs; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Duration = 3600.0
    """How long finished jobs stay; failed ones stay an hour at the least."""
    max_jobs: int = Field(default=1000, ge=1, le=50_000)
    """Jobs with series of their own, about 30 each; unfinished ones come first. What
    is left out is counted in `tunewatch_jobs_hidden` and stays in all aggregates."""
    metadata_labels: tuple[str, ...] = ()
    """Keys of a job's metadata that become labels `metadata_<key>` of its info; what no
    label can have becomes `_`."""
    sparse_status: bool = False
    """Leave out the zeros of `tunewatch_job_status`: a third fewer series."""
    prices: dict[str, Price] = Field(default_factory=dict)
    """Dollars for a million training tokens by base model, with or without its date.
    With any there is `tunewatch_estimated_cost_dollars_total`. OpenAI's list prices of
    November 2025: gpt-4.1 25, gpt-4.1-mini 5, gpt-4.1-nano 1.5, gpt-4o 25,
    gpt-4o-mini 3, gpt-3.5-turbo 8, davinci-002 6, babbage-002 0.4."""

    @property
    def renamed_labels(self) -> list[tuple[str, str]]:
        """Return the keys whose label another key has already, with their own."""
        names = self.names_of_metadata.items()
        return [(k, name) for k, name in names if name != label_name(f"metadata_{k}")]

    @property
    def names_of_metadata(self) -> dict[str, str]:
        """Return the label of each key; of two that would share one, a number tells."""
        names: dict[str, str] = {}
        for key in dict.fromkeys(self.metadata_labels):
            plain = name = label_name("metadata_" + key)
            n = 1
            while name in names.values():
                n += 1
                name = f"{plain}_{n}"
            names[key] = name
        return names
