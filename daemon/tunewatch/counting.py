"""By which words and bounds jobs are counted: short lists, closed by `other`.

A total once born is shown for ever, so no word of a provider's or a user's gets into
its labels by itself; and since a list is closed, the first job of each kind is an
increase of a series that was there at 0.
"""

from __future__ import annotations

from bisect import bisect_left

OTHER = "other"

METHODS = ("supervised", "dpo", "reinforcement")
"""Training methods, by the provider's words."""

ERROR_CODES = (
    "invalid_training_file",
    "invalid_validation_file",
    "invalid_n_examples",
    "exceeded_quota",
    "insufficient_quota",
    "server_error",
    OTHER,
)
"""Why jobs fail, by the provider's words."""

MINUTE, HOUR = 60, 3600
DURATION_BOUNDS = (
    *(MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 12 * HOUR, 24 * HOUR),
)
"""Upper bounds, in seconds, of the buckets that durations of jobs are counted in."""
INFINITE = "+Inf"
"""The bound of the last bucket."""


def counted_method(method: str) -> str:
    """Return what a training method is counted as."""
    return method if method in METHODS else OTHER


def counted_code(code: str | None) -> str:
    """Return what an error code is counted as, empty if nobody said one."""
    if not code:
        return ""
    return code if code in ERROR_CODES else OTHER


def counted_bucket(seconds: float) -> str:
    """Return the bound of the lowest bucket that holds a duration."""
    at = bisect_left(DURATION_BOUNDS, seconds)
    return str(DURATION_BOUNDS[at]) if at < len(DURATION_BOUNDS) else INFINITE


def root_model(model: str | None) -> str | None:
    """Return the model that all fine-tuning began with, None if nobody said.

    OpenAI names a fine-tuned model `ft:<root>:…` (older ones `<root>:ft-…`), Azure
    `<root>.ft-…`.
    """
    if not model:
        return None
    if model.startswith("ft:"):
        model = model.split(":")[1]
    for mark in (":ft-", ".ft-"):
        model = model.partition(mark)[0]
    return model or None
