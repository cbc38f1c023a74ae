"""Durations as people write them: `200ms`, `15s`, `5m`, `2h`, `30d`.

Knows nothing of what a duration is for.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic.fields import FieldInfo

from tunewatch.settings.mistake import Wanted

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FORM = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
DURATION = r"^\s*[0-9]+(\.[0-9]+)?(ms|s|m|h|d)\s*$"
"""The same for who checks files by a JSON Schema."""

_LONGEST = 10_000 * 86400.0  # 27 years: beyond it clocks and databases overflow


def parse_duration(text: object) -> float:
    """Return the seconds of a duration.

    Raises Wanted, without repeating the text, for anything but a number with one
    of the units ms, s, m, h, d.
    """
    # A default has been through here already and is seconds.
    if isinstance(text, float) and 0 <= text <= _LONGEST:
        return text
    found = _FORM.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise Wanted("a duration such as 200ms, 15s, 5m, 2h or 30d")
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds > _LONGEST:
        raise Wanted("a duration of at most 10000d")
    return seconds


def duration_text(seconds: float) -> str:
    """Return the shortest way to write so many seconds."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / _UNITS[unit]
        # A minute is said as 60s, as people do.
        if count == int(count) >= (2 if unit == "m" else 1):
            return f"{int(count)}{unit}"
    return f"{round(seconds * 1000)}ms"


def is_duration(info: FieldInfo) -> bool:
    """Whether a field of a model is a duration, by what its schema says."""
    return any(
        isinstance(part, WithJsonSchema)
        and (part.json_schema or {}).get("format") == "duration"
        for part in info.metadata
    )


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "format": "duration"}),
]
"""A setting written as `15s` and read as seconds."""
