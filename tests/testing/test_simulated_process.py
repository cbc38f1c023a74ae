"""The simulated API in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI


@asynccontextmanager
async def serving(*arguments: str):
    """Run the module, give its base URL and the process, and end it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tunewatch.testing.serve",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        async with asyncio.timeout(20):
            first = await process.stdout.readline()
        yield first.decode().strip(), process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
async def test_its_first_line_is_the_url_and_it_ends_when_told(ending):
    async with (
        serving("--seed", "4", "--time-scale", "60", "--keys", "sk-a,sk-b") as started,
    ):
        base_url, process = started
        for key in ("sk-a", "sk-b"):
            async with AsyncOpenAI(base_url=base_url, api_key=key) as client:
                page = await client.fine_tuning.jobs.list(limit=100)
                assert len(page.data) >= 13
        process.send_signal(ending)
        async with asyncio.timeout(5):
            assert await process.wait() == 0


async def test_it_can_serve_many_running_jobs_and_nothing_else():
    arguments = ("--no-organisation", "--many", "250", "--steps", "500")
    async with (
        serving(*arguments) as (base_url, _),
        AsyncOpenAI(base_url=base_url, api_key="sk-simulated") as client,
    ):
        listed = [job async for job in client.fine_tuning.jobs.list(limit=100)]
    assert len(listed) == 250
    assert "succeeded" not in {job.status for job in listed}


async def test_of_azure_s_kind_its_first_line_is_the_endpoint():
    async with (
        serving("--kind", "azure", "--past", "3") as (endpoint, _),
        AsyncAzureOpenAI(
            azure_endpoint=endpoint, api_version="2024-10-21", api_key="sk-simulated"
        ) as client,
    ):
        listed = [job async for job in client.fine_tuning.jobs.list(limit=100)]
    assert len(listed) >= 4
    assert all(job.id.startswith("ftjob-") and len(job.id) == 38 for job in listed)
