"""A broker of the demonstration's own, where mosquitto and the client are installed.

It listens on loopback only, keeps nothing, and is gone at the end. Where there is none
to be run, the demonstration does without.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec

from tunewatch.cli.demo_children import Offer, end, free_port

STARTED = 5.0  #: s that it may take to listen
STOP = 5.0  #: s that it may take to end
_BESIDE = "/usr/sbin:/usr/local/sbin"  # where Debian has it; not on everybody's PATH

_TABLE = """
[plugins.mqtt]
url = "mqtt://127.0.0.1:{port}"
"""
_LINE = "  MQTT        mosquitto_sub -p {port} -v -t 'tunewatch/#'\n"


@asynccontextmanager
async def broker() -> AsyncIterator[Offer | None]:
    """Run a broker until the block ends; None if there is none to be run."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_BESIDE}"
    program = shutil.which("mosquitto", path=path)
    port = free_port(0)
    if program is None or port is None or find_spec("aiomqtt") is None:
        yield None
        return
    # Without a file of its own it listens on loopback only.
    process = await asyncio.create_subprocess_exec(
        *(program, "-p", str(port)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is ours: the daemon takes its leave first
    )
    try:
        offer = Offer(_TABLE.format(port=port), _LINE.format(port=port))
        yield offer if await _listens(port, process) else None
    finally:
        await end(process, within=STOP)


async def _listens(port: int, process: asyncio.subprocess.Process) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(STARTED):
            while process.returncode is None:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return True
                await asyncio.sleep(0.02)
    return False
