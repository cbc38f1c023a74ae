from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.mosquitto_server import Mosquitto, mosquitto
from support.mqtt_opening import Lent


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Lend a broker that everybody may use, the same one to every test of a file."""
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def lent(tmp_path: Path) -> Lent:
    return Lent(tmp_path / "bus")
