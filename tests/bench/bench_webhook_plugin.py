"""How fast signed deliveries go out, against bare POSTs by the same HTTP client.

`python tests/bench/bench_webhook_plugin.py` prints both rates and their ratio. The
receiver is a process of its own. Rounds alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
from aiohttp import web

_TESTS = Path(__file__).resolve().parents[1]
for folder in (_TESTS, _TESTS.parent / "daemon", _TESTS.parent / "plugins"):
    sys.path.insert(0, str(folder))

from support.webhook_opening import SECRET, delivery, opened  # noqa: E402 - by path

ROUNDS = 7
POSTS = 6_000
IN_FLIGHT = 16
BODY = b'{"object": "event", "filler": "' + b"x" * 668 + b'"}'
SLOWEST = 0.80  #: of bare: a quarter more time each is the most the plugin may add


def receive(ready: Connection) -> None:
    """Receive until the process is ended."""

    async def accept(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/hook", accept)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


async def rate(post: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Return posts a second, and microseconds of this process's CPU for each."""
    numbers = iter(range(POSTS))

    async def work() -> None:
        for _ in numbers:
            await post()

    began, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for number in range(IN_FLIGHT):
            tasks.create_task(work(), name=f"work:{number}")
    spent = time.process_time() - cpu
    return POSTS / (time.perf_counter() - began), spent / POSTS * 1e6


async def compare(port: int) -> None:
    """Print the rates side by side."""
    url = f"http://127.0.0.1:{port}/hook"
    sent = delivery(body=BODY)
    headers = {
        "content-type": "application/json",
        "webhook-id": "evt_1",
        "webhook-timestamp": "1763600000",
        "webhook-signature": "v1," + "x" * 44,
    }
    found: dict[str, list[tuple[float, float]]] = {"bare": [], "plugin": []}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        opened({"url": url, "secret": SECRET}) as webhook,
    ):

        async def bare() -> None:
            async with session.post(url, data=BODY, headers=headers) as response:
                await response.read()

        async def signed() -> None:
            await webhook.deliver(sent)

        await rate(bare)
        await rate(signed)
        for _ in range(ROUNDS):
            found["bare"].append(await rate(bare))
            found["plugin"].append(await rate(signed))
    report(found)


def report(found: dict[str, list[tuple[float, float]]]) -> None:
    """Print medians, and the median of the ratios of neighbouring rounds."""
    lines = []
    for name, rounds in found.items():
        rates, cpu = zip(*rounds, strict=True)
        lines.append(
            f"{name:8} {statistics.median(rates):7.0f} POST/s x{IN_FLIGHT}"
            f"  {statistics.median(cpu):5.0f} us CPU"
        )
    pairs = list(zip(found["plugin"], found["bare"], strict=True))
    by_rate = statistics.median(plugin[0] / bare[0] for plugin, bare in pairs)
    by_cpu = statistics.median(plugin[1] / bare[1] for plugin, bare in pairs)
    verdict = "ok" if by_rate >= SLOWEST else "TOO SLOW"
    lines.append(f"ratio    {by_rate:.2f} of bare (bar: {SLOWEST})  {verdict}")
    lines.append(f"CPU      {by_cpu:.2f} of bare")
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> None:
    """Run the comparison."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=receive, args=(theirs,), daemon=True)
    process.start()
    try:
        asyncio.run(compare(ours.recv()))
    finally:
        process.terminate()
        process.join()


if __name__ == "__main__":
    main()
