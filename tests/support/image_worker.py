"""Runs the image's entry point as a pod would, in a network namespace of its own.

Its root is read-only, its user is nobody that this machine knows, and it is process 1.
Reads what to run from a JSON file and prints what it saw as JSON. A module of its own,
because it listens where pods listen: on every address.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from tunewatch.testing import Script, SimulatedApi

POD = "http://10.20.30.40:9478"  #: in this namespace every address is this machine
PATIENCE = 40.0  #: s for a start on a busy machine
NOT_OURS = ("/proc", "/dev")


async def _main(plan: dict[str, Any]) -> dict[str, Any]:
    api = SimulatedApi(time_scale=60.0)
    api.add_job(Script(steps=40, seconds_per_step=15.0))
    async with api.serve() as base_url, aiohttp.ClientSession() as session:
        environ = {
            **plan["environ"],
            "TUNEWATCH_SOURCES__OPENAI__BASE_URL": base_url,
            "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        }
        reading, writing = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *("bwrap", "--info-fd", str(writing), *plan["bwrap"]),
            env=environ,
            pass_fds=[writing],
            stdout=sys.stderr,
        )
        os.close(writing)
        try:
            with os.fdopen(reading) as told:
                pid = json.loads(told.read())["child-pid"]
            report = await _answered(plan["awaited"], session, process)
            await _appeared(plan["until"], pid)
            seen = await _looked_at(session, pid)
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                code = await process.wait()
            return {
                **seen,
                "ready": report,
                "code": code,
                "stopped": time.monotonic() - began,
            }
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _answered(
    awaited: int,
    session: aiohttp.ClientSession,
    process: asyncio.subprocess.Process,
) -> dict[str, Any]:
    """Wait for /readyz to answer with that status and return what it says."""
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.returncode is None, f"it ended with {process.returncode}"
        assert time.monotonic() < deadline, f"/readyz was not {awaited} in time"
        with suppress(aiohttp.ClientError):
            async with session.get(f"{POD}/readyz") as answer:
                report: dict[str, Any] = await answer.json()
                is_asked = report["store"]["state"] != "starting"
                if answer.status == awaited and is_asked:
                    return report
        await asyncio.sleep(0.05)


async def _appeared(pattern: str | None, pid: int) -> None:
    """Wait for a file by a glob of its root."""
    deadline = time.monotonic() + PATIENCE
    while pattern is not None and not _found(pattern, pid):
        assert time.monotonic() < deadline, f"no {pattern} in time"
        await asyncio.sleep(0.2)


def _found(pattern: str, pid: int) -> bool:
    return any(Path(f"/proc/{pid}/root").glob(pattern))


async def _looked_at(session: aiohttp.ClientSession, pid: int) -> dict[str, Any]:
    """Return what can be seen of it from outside."""
    answers = {}
    for path in ("/livez", "/readyz", "/metrics", "/api/v1/jobs"):
        async with session.get(POD + path) as answer:
            answers[path] = answer.status
    return {"answers": answers, "writable": _writable(pid), "status": _status(pid)}


def _status(pid: int) -> dict[str, list[str]]:
    """Return what the kernel says of a process: its user, rights and memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key: value.split() for key, _, value in pairs}


def _writable(pid: int) -> list[str]:
    """Return where a process has something that is not mounted read-only."""
    lines = Path(f"/proc/{pid}/mounts").read_text().splitlines()
    mounts = (line.split() for line in lines)
    return sorted(
        where
        for _, where, _, options, *_ in mounts
        if "rw" in options.split(",") and not where.startswith(NOT_OURS)
    )


if __name__ == "__main__":
    seen = asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text())))
    sys.stdout.write(json.dumps(seen))
