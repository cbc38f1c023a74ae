"""What a provider said that this version has not heard of, by the kind of word.

Such words pass through verbatim, in events and in the store; here they are only found,
so that somebody can see that there are any. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunewatch.counting import METHODS
from tunewatch.diff import Delta, JobState
from tunewatch.events import Happening, JobDiscovered, JobStatusChanged, MessageLogged
from tunewatch.model import Job, JobStatus

_ENTRY_TYPES = frozenset({"message", "metrics", "moderation_checks"})

_METRICS = frozenset(
    {
        "train_loss",
        "train_mean_token_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
        "full_valid_loss",
        "full_valid_mean_token_accuracy",
        "train_mean_reward",
        "valid_mean_reward",
        "full_valid_mean_reward",
        "train_mean_parse_error",
        "valid_mean_parse_error",
        "full_valid_mean_parse_error",
        "mean_unresponsive_rewards",
        "reasoning_tokens_mean",
        "completion_tokens_mean",
        "valid_reasoning_tokens_mean",
        "valid_completion_tokens_mean",
        "pg_loss_sum",
        "total_loss_sum",
        "entropy_loss_sum",
    }
)
_GROUPS = frozenset(
    {"scores", "usage", "errors", "timing", "model_graders_token_usage"}
)
"""What nested values begin with; the names below are the user's graders'."""


def unheard(delta: Delta, job: Job, before: JobState) -> Iterator[str]:
    """Yield `status`, `method`, `event_type` or `metric` for each such word.

    A status and an event as often as they are told, a metric once for each job.
    """
    for happening in delta.happenings:
        kind = _kind(happening, job)
        if kind is not None:
            yield kind
    for name in delta.after.latest.keys() - before.latest.keys():
        if not _is_known_metric(name):
            yield "metric"


def _kind(happening: Happening, job: Job) -> str | None:
    match happening.payload:
        case MessageLogged(event_type=said) if said not in _ENTRY_TYPES:
            return "event_type"
        case JobStatusChanged() if job.state is JobStatus.UNKNOWN:
            return "status"
        case JobDiscovered() if job.training_method not in METHODS:
            return "method"
        case _:
            return None


def _is_known_metric(name: str) -> bool:
    # Result files divide by slashes what events divide by dots.
    return name in _METRICS or name.replace("/", ".").partition(".")[0] in _GROUPS
