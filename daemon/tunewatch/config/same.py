"""Whether settings are still the same: what need not be begun anew.

A secret is the same if it is kept in the same place and has the same value.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from tunewatch.config.redacted import shown

ModelT = TypeVar("ModelT", bound=BaseModel)


def is_same(one: ModelT, other: ModelT | None) -> bool:
    """Whether two tables say the same."""
    # Values by comparison; the places of secrets by how they are shown.
    return other is not None and one == other and shown(one) == shown(other)
