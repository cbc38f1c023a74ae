"""Which checkpoint of a job is the best one, and why.

Points and checkpoints in, a choice with its reason out. Does no I/O, reads no clock,
knows no provider, no event and no plugin: whoever asks decides what to do about it.
"""

from tunewatch.selection.choose import Choice, NoChoice, select
from tunewatch.selection.rules import (
    BATCH_METRICS,
    FULL_METRICS,
    SMOOTHED,
    SMOOTHED_FROM,
    Goal,
    Rules,
    Tie,
    goal_of,
)
from tunewatch.selection.wording import NoChoiceReason

__all__ = [
    "BATCH_METRICS",
    "FULL_METRICS",
    "SMOOTHED",
    "SMOOTHED_FROM",
    "Choice",
    "Goal",
    "NoChoice",
    "NoChoiceReason",
    "Rules",
    "Tie",
    "goal_of",
    "select",
]
