"""JSON as APIs really send it: read strictly first, then with patience.

A bare NaN, half a surrogate or a broken byte in one field must not cost the rest of an
answer; a body that is no JSON at all is `Unreadable`. Knows no shape of the API.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from tunewatch.sources.contract import Unreadable

_LAST_SECOND = 253_402_300_799  # the end of the year 9999: no date goes further
_LARGEST = 2**63 - 1
_LONGEST_INTEGER = 300  # digits; above it not even a float can hold the value
_object = msgspec.json.Decoder(dict[str, Any])

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the strict decoder raises for a body it does not take."""


def read_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object of a body. Raises Unreadable if it holds none."""
    with suppress(*NOT_JSON):
        return _object.decode(raw)
    value = read_patiently(raw)
    if not isinstance(value, dict):
        raise Unreadable(
            f"a {type(value).__name__} stands where an object was expected"
        )
    return value


def repaired(body: bytes) -> bytes:
    """Return the body as JSON that every decoder takes. Raises Unreadable."""
    value = read_patiently(body)
    with suppress(RecursionError):
        return msgspec.json.encode(value)
    raise Unreadable("the answer is nested too deeply")


def read_patiently(body: bytes) -> Any:
    """Return the value of a body with everything unusable in it as null.

    Raises Unreadable if there is no JSON to be found.
    """
    text = body.decode("utf-8-sig", "replace")
    with suppress(ValueError, RecursionError):
        value = json.loads(
            text,
            parse_constant=lambda _: None,
            parse_float=_finite,
            parse_int=_integer,
            strict=False,
        )
        # Half a surrogate pair cannot be encoded again.
        return _decodable(value) if "\\u" in text else value
    # Outside of any handler: a JSON error carries the whole body.
    what = "an empty body" if not text.strip() else "no JSON, or only a part of it"
    raise Unreadable(f"the answer is {what}")


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _integer(text: str) -> int | float | None:
    if len(text) > _LONGEST_INTEGER:
        return None
    value = int(text)
    return value if abs(value) <= _LARGEST else float(value)


def _decodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_decodable(item) for item in value]
    if isinstance(value, dict):
        return {_decodable(key): _decodable(item) for key, item in value.items()}
    return value


def text(value: object) -> str | None:
    """Return a string that says something, None for anything else."""
    return value if isinstance(value, str) and value else None


def identifier(value: object) -> str | None:
    """Return a string that can be an id or a status, None for anything else."""
    return value if isinstance(value, str) and value.strip() else None


def whole(value: object) -> int | None:
    """Return a whole number of 64 bits, None for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) <= _LARGEST else None


def moment(value: object) -> int | None:
    """Return unix seconds that a calendar has, None for anything else."""
    seconds = whole(value)
    if seconds is None or not 0 <= seconds <= _LAST_SECOND:
        return None
    return seconds


def mapping(value: object) -> dict[str, Any] | None:
    """Return an object that has something in it, None for anything else."""
    return value if isinstance(value, dict) and value else None


def unknown(item: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return the fields of an item that this version does not know."""
    return {key: value for key, value in item.items() if key not in known}
