"""A broker of the demonstration's own, where mosquitto and the client are installed.

It listens on loopback only, keeps nothing, and is gone at the end. Where there is none
to be run, the demonstration does without.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec

STARTED = 5.0  #: s that it may take to listen
STOP = 5.0  #: s that it may take to end
_BESIDE = "/usr/sbin:/usr/local/sbin"  # where Debian has it; not on everybody's PATH

TABLE = """
[plugins.mqtt]
url = "mqtt://127.0.0.1:{port}"
"""
LINE = "  MQTT        mosquitto_sub -p {port} -v -t 'tunewatch/#'\n"


@asynccontextmanager
async def broker() -> AsyncIterator[int | None]:
    """Run a broker until the block ends; lend its port, None if there is none."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_BESIDE}"
    program = shutil.which("mosquitto", path=path)
    if program is None or find_spec("aiomqtt") is None:
        yield None
        return
    port = _free_port()
    # Without a file of its own it listens on loopback only.
    process = await asyncio.create_subprocess_exec(
        *(program, "-p", str(port)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is ours: the daemon takes its leave first
    )
    try:
        yield port if await _listens(port, process) else None
    finally:
        await _stop(process)


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


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
