from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.wandb_server import WandbServer
from tunewatch.testing.lent import LentJobs


@pytest.fixture
def server() -> Iterator[WandbServer]:
    served = WandbServer()
    with served.serve():
        yield served


@pytest.fixture
def jobs() -> LentJobs:
    return LentJobs()
