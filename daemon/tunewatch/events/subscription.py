"""Which events a plugin wants: types, globs and groups, and the metadata of jobs.

Pure matching; sources are judged where they are known.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from tunewatch.events.catalogue import (
    JOB_STATUS_PREFIX,
    CheckpointSelected,
    CheckpointUnselected,
    MetricsRecorded,
    SourceDown,
    SourceUp,
)

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
            known = ", ".join(GROUPS)
            raise ValueError(f"no group called {pattern!r}; groups are {known}")
    if not globs:
        return lambda _type: False
    compiled = re.compile("|".join(fnmatch.translate(glob) for glob in globs))

    # Types are few and asked for every event and plugin; statuses come from outside,
    # so the memory is bounded.
    @lru_cache(maxsize=256)
    def wanted(event_type: str) -> bool:
        return compiled.match(event_type) is not None

    return wanted
