"""The demonstration, for a moment: what it says where to look is there."""

from __future__ import annotations

import re
import socket

from support.mosquitto_server import listening
from support.program import Program
from support.running import eventually, spawned


async def test_the_demonstration_says_how_to_listen_by_mqtt_and_leaves_nothing(
    tmp_path,
):
    said = tmp_path / "said"

    def port() -> int:
        shown = r"mosquitto_sub -p (\d+) -v -t 'tunewatch/#'"
        found = re.search(shown, said.read_text())
        return int(found[1]) if found else 0

    demo = ("demo", "--seconds", "60", "--speed", "600")
    async with spawned(Program(tmp_path, is_cold=True), *demo, said=said) as process:
        await eventually(port, "it says where to look")
        async with listening(port(), "tunewatch/#") as listener:
            while not any("/events/" in one.topic for one in listener.heard):
                await listener.next()
            process.terminate()
            assert await process.wait() == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port())) != 0
