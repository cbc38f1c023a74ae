"""The series of a job's best checkpoint, from what the reactor last said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunewatch.events import CheckpointSelected
from tunewatch.model import finite
from tunewatch.plugin import JobRow
from tunewatch_plugins.prometheus.jobs import JobGauge, Part, more_labels

_FROM = "from the event tunewatch.checkpoint.selected."


class BestValueSeries:
    """The value of the best checkpoint, under the metric that chose it."""

    name = "tunewatch_job_best_checkpoint_value"
    help = (
        "Value of the best checkpoint by the metric that chose it, in that metric's "
        f"own unit, {_FROM}"
    )

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        return "".join(
            [
                f"{self.name}{labels}{more_labels({'metric': best['metric']})}}} "
                f"{value!r}\n"
                for labels, row in part
                if (best := _best(row)) and (value := finite(best["value"])) is not None
            ]
        )


class BestInfoSeries:
    """Names of the best checkpoint; always 1."""

    name = "tunewatch_job_best_checkpoint_info"
    help = (
        "Names of the best checkpoint, always 1; decision is provisional or final, "
        f"{_FROM}"
    )

    def lines(self, part: Part) -> str:
        """Return the samples of some jobs."""
        return "".join(
            [
                f"{self.name}{labels}{self._names(best)}}} 1\n"
                for labels, row in part
                if (best := _best(row))
            ]
        )

    def _names(self, best: Mapping[str, Any]) -> str:
        checkpoint = best["checkpoint"]
        return more_labels(
            {
                "checkpoint_id": checkpoint["id"],
                "checkpoint_model": checkpoint.get("fine_tuned_model_checkpoint"),
                "decision": best["decision"],
            }
        )


def _best(row: JobRow) -> Mapping[str, Any] | None:
    """Return what was said of the best checkpoint, None if none is selected."""
    selection = row.selection
    if selection is None or selection.type != CheckpointSelected.TYPE:
        return None
    return selection.data


def _step(row: JobRow) -> float | None:
    best = _best(row)
    return None if best is None else finite(best["checkpoint"].get("step_number"))


def _full_valid_loss(row: JobRow) -> float | None:
    best = _best(row)
    if best is None or best["metric"] != "full_valid_loss":
        return None
    return finite(best["value"])


BEST = (
    BestValueSeries(),
    JobGauge(
        "tunewatch_job_best_checkpoint_full_valid_loss",
        "Loss of the best checkpoint over the whole validation set, if that chose it, "
        f"{_FROM}",
        _full_valid_loss,
    ),
    JobGauge(
        "tunewatch_job_best_checkpoint_step",
        f"Training step of the best checkpoint, API field step_number, {_FROM}",
        _step,
    ),
    BestInfoSeries(),
)
"""Every family about the best checkpoint of a job."""
