"""What it costs to look at a page of 100 jobs that have not changed.

Run: `python -m bench.bench_page` with `tests` on the path. The API runs in a process of
its own, so that the CPU time counted is the reader's alone.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from openai import AsyncOpenAI

from tunewatch.sources.contract import Page, RawJob, SourceContext
from tunewatch.sources.http import shared_http
from tunewatch.sources.openai import OpenAISettings, open_source

JOBS = 100
ROUNDS = 9
LOOKS = 60


class BareJob(msgspec.Struct):
    """A job as somebody without our promises would decode it: 17 fields, typed."""

    id: str
    status: str
    created_at: int | None = None
    finished_at: int | None = None
    estimated_finish: int | None = None
    model: str | None = None
    fine_tuned_model: str | None = None
    method: dict[str, Any] | None = None
    hyperparameters: dict[str, Any] | None = None
    training_file: str | None = None
    validation_file: str | None = None
    result_files: list[str] | None = None
    trained_tokens: int | None = None
    seed: int | None = None
    metadata: dict[str, str] | None = None
    integrations: list[Any] | None = None
    error: dict[str, Any] | None = None


class BarePage(msgspec.Struct):
    """A page of those."""

    data: list[BareJob]
    has_more: bool


def job(n: int) -> dict[str, Any]:
    """Return a job with everything that a real one of 2025 has."""
    hyperparameters = {
        "n_epochs": 10,
        "batch_size": 1,
        "learning_rate_multiplier": 1.8,
    }
    return {
        "object": "fine_tuning.job",
        "id": f"ftjob-{n:024d}",
        "model": "gpt-4.1-nano-2025-04-14",
        "created_at": 1746484925 + n,
        "finished_at": 1746485841 + n,
        "fine_tuned_model": f"ft:gpt-4.1-nano-2025-04-14:acme::{n:08d}",
        "organization_id": "org-abc123",
        "result_files": [f"file-{n:022d}"],
        "status": "succeeded",
        "validation_file": None,
        "training_file": "file-RCnFCYRhFDcq1aHxiYkBHw",
        "hyperparameters": hyperparameters,
        "trained_tokens": 1700,
        "error": {},
        "user_provided_suffix": None,
        "seed": 1935755117,
        "estimated_finish": None,
        "integrations": [],
        "metadata": {"team": "a", "run": str(n)},
        "usage_metrics": None,
        "shared_with_openai": False,
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": hyperparameters},
        },
    }


async def serve() -> None:
    """Serve the page until the parent closes our input."""
    page = {"object": "list", "data": [job(n) for n in range(JOBS)], "has_more": True}
    body = json.dumps(page).encode()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/fine_tuning/jobs", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}/v1\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Run the API in another process and yield its base URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "serve",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


Look = Callable[[], Awaitable[object]]


async def one_round(look: Look) -> float:
    """Return the CPU milliseconds of a look, as the mean of some."""
    began = time.process_time()
    for _ in range(LOOKS):
        await look()
    return (time.process_time() - began) / LOOKS * 1e3


async def measured(looks: dict[str, Look]) -> dict[str, float]:
    """Return the median CPU milliseconds of each look, measured turn by turn."""
    figures: dict[str, list[float]] = {name: [] for name in looks}
    for turn in range(ROUNDS + 1):
        for name, look in looks.items():
            figure = await one_round(look)
            if turn:  # the first turn warms up
                figures[name].append(figure)
    return {name: statistics.median(each) for name, each in figures.items()}


def unchanged(page: Page[RawJob], known: dict[bytes, bytes]) -> int:
    """Return how many jobs of a page are as they were: the poller's inner loop."""
    same = 0
    for item in page.items:
        if known.get(item.digest) is not None:
            same += 1
    return same


async def compare() -> dict[str, float]:
    """Measure the ways to look at the page."""
    typed = msgspec.json.Decoder(BarePage)

    async def key() -> str:
        return "sk-bench"

    async with (
        serving() as base_url,
        shared_http() as http,
        aiohttp.ClientSession(headers={"authorization": "Bearer sk-bench"}) as session,
        open_source(
            OpenAISettings(base_url=base_url),
            SourceContext(
                name="bench",
                secret=lambda: "sk-bench",
                observe=lambda call: None,
                http=http,
            ),
        ) as source,
    ):
        client: Any = http
        sdk = AsyncOpenAI(
            api_key=key, base_url=base_url, http_client=client, max_retries=0
        )
        first = await source.list_jobs(after=None, limit=JOBS)
        known = {item.digest: item.digest for item in first.items}

        async def bare() -> BarePage:
            address = f"{base_url}/fine_tuning/jobs?limit={JOBS}"
            async with session.get(address) as response:
                return typed.decode(await response.read())

        async def ours() -> None:
            page = await source.list_jobs(after=None, limit=JOBS)
            if unchanged(page, known) != JOBS:
                raise AssertionError("a page that did not change reads as changed")

        async def models() -> object:
            return await sdk.fine_tuning.jobs.list(limit=JOBS)

        return await measured({"bare": bare, "ours": ours, "models": models})


def table(figures: dict[str, float]) -> list[tuple[str, str, str]]:
    """Return name, figure and bar of each line."""
    bare, ours, models = figures["bare"], figures["ours"], figures["models"]
    return [
        ("bare aiohttp + msgspec, typed", f"{bare:.3f} ms CPU", ""),
        ("tunewatch: fetch, split, digest, compare", f"{ours:.3f} ms CPU", ""),
        ("the SDK's own models", f"{models:.3f} ms CPU", ""),
        ("tunewatch / bare", f"{ours / bare:.2f}", "<= 3"),
        ("tunewatch / SDK models", f"{ours / models:.3f}", "<= 0.1"),
    ]


def main() -> int:
    """Print the table; return 1 if a bar is missed."""
    figures = asyncio.run(compare())
    sys.stdout.write(f"one page of {JOBS} unchanged jobs, median of {ROUNDS}\n")
    for name, figure, bar in table(figures):
        sys.stdout.write(f"{name:44}{figure:>16}  {bar}\n")
    met = (
        figures["ours"] <= 3 * figures["bare"]
        and figures["ours"] <= figures["models"] / 10
    )
    return 0 if met else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        sys.exit(main())
