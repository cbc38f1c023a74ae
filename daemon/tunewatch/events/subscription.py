"""Which events a plugin wants: types, globs and groups, and the metadata of jobs.

Pure matching; sources are judged where they are known. What a person wrote is judged by
`judge`, which knows a slip from a word of tomorrow.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from tunewatch.events.catalogue import (
    CATALOGUE,
    JOB_STATUS_PREFIX,
    CheckpointSelected,
    CheckpointUnselected,
    MetricsRecorded,
    SourceDown,
    SourceUp,
)
from tunewatch.settings import hint

GROUPS: dict[str, tuple[str, ...]] = {
    "@status": (JOB_STATUS_PREFIX + "*",),
    "@terminal": tuple(
        JOB_STATUS_PREFIX + status for status in ("succeeded", "failed", "cancelled")
    ),
    "@selection": (CheckpointSelected.TYPE, CheckpointUnselected.TYPE),
    "@metrics": (MetricsRecorded.TYPE,),
    "@source": (SourceDown.TYPE, SourceUp.TYPE),
}
"""Short names for what people usually want together."""

_metadata = msgspec.json.Decoder(dict[str, Any])


def has_metadata(metadata: bytes | None, wanted: Mapping[str, str]) -> bool:
    """Whether a job's metadata, as JSON, have all that is wanted."""
    if not wanted:
        return True
    has = _metadata.decode(metadata) if metadata else {}
    return all(has.get(key) == value for key, value in wanted.items())


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return the question "is this event type wanted?".

    Raises ValueError for a group that does not exist.
    """
    globs: list[str] = []
    for pattern in patterns:
        if not pattern.startswith("@"):
            globs.append(pattern)
        elif pattern in GROUPS:
            globs.extend(GROUPS[pattern])
        else:
            known = hint(pattern, GROUPS, otherwise="groups are")
            raise ValueError(f"no group called {pattern!r}; {known}")
    if not globs:
        return lambda _type: False
    compiled = re.compile("|".join(fnmatch.translate(glob) for glob in globs))

    # Types are few and asked for every event and plugin; statuses come from outside,
    # so the memory is bounded.
    @lru_cache(maxsize=256)
    def wanted(event_type: str) -> bool:
        return compiled.match(event_type) is not None

    return wanted


def judge(patterns: Iterable[str]) -> None:
    """Raise ValueError for a group, type or glob that no event could ever have.

    Whatever follows `fine_tuning.job.` may be a status of tomorrow.
    """
    asked = list(patterns)
    matcher(asked)
    types = [kind.TYPE for kind in CATALOGUE]
    for pattern in asked:
        if not (_may_be_a_status(pattern) or fnmatch.filter(types, pattern)):
            known = hint(pattern, types)
            raise ValueError(f"no event type is or matches {pattern!r}; {known}")


def _may_be_a_status(pattern: str) -> bool:
    plain = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    is_glob = plain != pattern
    return pattern.startswith((JOB_STATUS_PREFIX, "@")) or (
        is_glob and JOB_STATUS_PREFIX.startswith(plain)
    )
