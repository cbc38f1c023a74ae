"""The replicas' scene: one PostgreSQL, one API, one receiver."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from support.databases import PostgresServer
from support.fleet import Fleet, fleet


@pytest.fixture
def staged(
    tmp_path: Path, postgres_url: str, postgres: PostgresServer, chance: random.Random
) -> Callable[..., AbstractAsyncContextManager[Fleet]]:
    """Lend a scene with several replicas."""
    return partial(fleet, tmp_path, postgres_url, postgres, chance)
