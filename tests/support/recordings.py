"""What was recorded of real APIs, or what a test has in its place.

The recordings lie beside the project; where they are not, tests stand on own data.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

SHARED = Path(
    os.environ.get("TUNEWATCH_SHARED", Path(__file__).parents[2] / "../shared")
)
PAYLOADS = SHARED / "payloads"


def recording(name: str, otherwise: Callable[[], str]) -> str:
    """Return a recording, or what stands in for it."""
    path = PAYLOADS / name
    return path.read_text() if path.is_file() else otherwise()
