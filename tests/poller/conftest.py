"""What the poller's tests may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Lend an address for a new store in a file."""
    return f"sqlite:///{tmp_path / 'state.db'}"
