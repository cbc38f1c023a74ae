"""The series of a job's best checkpoint, from what the reactor last said of it."""

from __future__ import annotations

from tunewatch.plugin import BestGlance, JobGlance
from tunewatch_plugins.prometheus.jobs import JobGauge, Part, samples, text

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
        return samples(
            self.name,
            [
                f'{labels},metric="{text(best.metric)}"}} {best.value!r}'
                for job, labels in zip(part.jobs, part.labels, strict=True)
                if (best := job.best) is not None and best.value is not None
            ],
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
        return samples(
            self.name,
            [
                f"{labels}{_names(best)}}} 1"
                for job, labels in zip(part.jobs, part.labels, strict=True)
                if (best := job.best) is not None
            ],
        )


def _names(best: BestGlance) -> str:
    return (
        f',checkpoint_id="{text(best.checkpoint_id)}"'
        f',checkpoint_model="{text(best.checkpoint_model)}"'
        f',decision="{text(best.decision)}"'
    )


def _step(job: JobGlance) -> float | None:
    best = job.best
    return None if best is None else best.step


def _full_valid_loss(job: JobGlance) -> float | None:
    best = job.best
    if best is None or best.metric != "full_valid_loss":
        return None
    return best.value


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
