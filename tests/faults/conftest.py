"""The scene of a fault, on both engines."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from support.databases import PostgresServer
from support.fault_scene import Scene, fault_scene
from support.faulty_disk import compiled


@pytest.fixture
def staged(
    tmp_path: Path, store_url: str, postgres: PostgresServer, chance: random.Random
) -> Callable[..., AbstractAsyncContextManager[Scene]]:
    """Lend a scene, once per engine."""
    return partial(fault_scene, tmp_path, store_url, postgres, chance)


@pytest.fixture(scope="session")
def disk_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lend the library that stands between a program and its disk."""
    return compiled(tmp_path_factory.mktemp("disk"))
