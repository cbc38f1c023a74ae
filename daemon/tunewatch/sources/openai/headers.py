"""What the headers of an answer say: how long to wait, what is left, what time it is.

Pure: the time comes in as an argument. A header that makes no sense says nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache

LONGEST_WAIT = 86400.0
"""s: nobody means to be asked again later than in a day."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return how many seconds to wait, None if the answer does not say.

    `retry-after-ms` wins over `retry-after`, which is seconds or a date. A date is
    compared with the answer's own Date, so that a wrong clock here does not count.
    """
    if (milliseconds := number(headers.get("retry-after-ms"))) is not None:
        return _sane(milliseconds / 1000)
    said = headers.get("retry-after")
    if (seconds := number(said)) is not None:
        return _sane(seconds)
    if (until := date(said)) is None:
        return None
    sent = date(headers.get("date"))
    return _sane(until - (now if sent is None else sent))


def clock_offset(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return how many seconds `now` is ahead of the answer's Date, None without one."""
    sent = date(headers.get("date"))
    return None if sent is None else now - sent


def count(said: str | None) -> int | None:
    """Return a header's whole number, None if it has none."""
    value = number(said)
    return None if value is None or value < 0 else int(value)


def duration(said: str | None) -> float | None:
    """Return the seconds of `6m0s`, `20ms` or `12`, None for anything else."""
    if (seconds := number(said)) is not None:
        return max(0.0, seconds)
    text = (said or "").strip()
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(value) * _SECONDS[unit] for value, unit in _PART.findall(text))


def number(said: str | None) -> float | None:
    """Return a header's finite number, None if it has none."""
    if not said:
        return None  # as nearly always
    try:
        value = float(said)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@lru_cache(maxsize=16)  # many answers of one second say the same
def date(said: str | None) -> float | None:
    """Return the unix seconds of an HTTP date, None if it is none."""
    try:
        return parsedate_to_datetime(said or "").timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _sane(seconds: float) -> float:
    """Return a wait that is neither negative nor longer than a day."""
    return min(max(0.0, seconds), LONGEST_WAIT)
