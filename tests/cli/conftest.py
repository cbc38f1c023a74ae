"""The command line on one engine: what differs between the two lies below it.

On PostgreSQL the same runs in the long form.
"""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.faults)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Lend an address for a new store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
