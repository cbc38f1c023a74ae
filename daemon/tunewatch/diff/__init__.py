"""Before + observation -> events. Pure: no I/O, no clock, no randomness."""

from tunewatch.diff.compare import diff
from tunewatch.diff.state import NEW, Delta, JobState, Known, Latest, Observation

__all__ = ["NEW", "Delta", "JobState", "Known", "Latest", "Observation", "diff"]
