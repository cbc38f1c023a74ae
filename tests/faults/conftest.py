"""The scene of a fault, on both engines."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from support.daemon_process import DaemonProcess
from support.databases import PostgresServer
from support.fault_scene import Scene, fault_scene
from support.faulty_disk import FaultyDisk, compiled, faulty_disk


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


@pytest.fixture
def on_a_disk(
    tmp_path: Path, chance: random.Random, disk_library: Path
) -> Callable[..., AbstractAsyncContextManager[tuple[Scene, FaultyDisk]]]:
    """Lend a scene whose daemon is on a disk that fails when it is told to."""
    state = tmp_path / "state"
    url = f"sqlite:///{state / 'state.db'}"

    @asynccontextmanager
    async def staged(
        kind: type[DaemonProcess] = DaemonProcess,
    ) -> AsyncIterator[tuple[Scene, FaultyDisk]]:
        async with fault_scene(
            tmp_path, url, None, chance, sinks=4, at_once=4, kind=kind
        ) as scene:
            with faulty_disk(disk_library, tmp_path / "disk", under=state) as disk:
                scene.daemon.environ = disk.environment
                scene.daemon.program.is_cold = True
                yield scene, disk

    return staged
