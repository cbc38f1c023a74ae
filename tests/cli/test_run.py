from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest

from support.program import Program
from tunewatch.testing import SimulatedApi

KEY = "sk-canary-91d2c0"


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
async def api():
    made = SimulatedApi(time_scale=600.0)
    made.add_key(KEY)
    made.add_job(suffix="router", steps=20)
    async with made.serve() as url:
        yield made, url


def configure(program: Program, url: str, port: int = 0) -> None:
    configuration = program.directory / "conf.toml"
    configuration.write_text(
        f"[daemon]\nstate = 'sqlite:///{program.directory}/state.db'\n"
        f"listen = '127.0.0.1:{port}'\nlog_level = 'debug'\nshutdown_grace = '2s'\n"
        f"[sources.research]\napi_key_env = 'KEY'\nbase_url = '{url}'\n"
        "poll_interval = '200ms'\nidle_interval = '200ms'\nsettle_window = '1s'\n"
        "requests_per_minute = 60000\n"
    )
    program.environ |= {"KEY": KEY, "TUNEWATCH_CONFIG": str(configuration)}


@asynccontextmanager
async def started(program: Program, *arguments: str):
    """Run the program until the block ends; it is killed if it is still there."""
    process = await asyncio.create_subprocess_exec(
        *program.command(*arguments),
        env=program.environ,
        cwd=program.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def lines(said: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in said.splitlines()]


async def test_once_does_what_is_due_and_ends_with_0(program, api):
    _, url = api
    configure(program, url)
    async with asyncio.timeout(60), started(program, "run", "--once") as process:
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert out == b""
    assert all("event" in line for line in lines(err))
    assert KEY.encode() not in err
    for kept in program.directory.glob("state.db*"):
        assert KEY.encode() not in kept.read_bytes()
    jobs = await asyncio.to_thread(program, "jobs")
    assert "router" in jobs.out


async def test_once_with_a_refused_key_is_69(program, api):
    served, url = api
    served.revoke_key(KEY)
    configure(program, url)
    async with asyncio.timeout(60), started(program, "run", "--once") as process:
        _, err = await process.communicate()
    assert process.returncode == 69, err.decode()
    assert KEY.encode() not in err
    assert b"Traceback" not in err


async def test_a_second_daemon_on_one_store_is_3_and_the_first_goes_on(
    program, api, unused_tcp_port
):
    _, url = api
    configure(program, url, unused_tcp_port)
    async with asyncio.timeout(60), started(program, "run") as first:
        await _ready(unused_tcp_port)
        async with started(program, "run") as second:
            _, err = await second.communicate()
        assert second.returncode == 3
        assert b"is in use by process" in err
        assert first.returncode is None
        first.send_signal(signal.SIGTERM)
        _, err = await first.communicate()
    assert first.returncode == 0, err.decode()
    assert KEY.encode() not in err


async def _ready(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


async def test_metrics_of_a_running_daemon_hold_no_secret(
    program, api, unused_tcp_port
):
    _, url = api
    configure(program, url, unused_tcp_port)
    async with asyncio.timeout(60), started(program, "run") as process:
        await _ready(unused_tcp_port)
        async with aiohttp.ClientSession() as session:
            base = f"http://127.0.0.1:{unused_tcp_port}"
            metrics = await (await session.get(f"{base}/metrics")).text()
            health = await (await session.get(f"{base}/readyz")).text()
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert 'tunewatch_polls_total{source="research"}' in metrics
    assert "research" in health
    assert KEY not in metrics + health


async def test_an_address_in_use_is_2(program, api):
    _, url = api
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server, asyncio.timeout(60):
        configure(program, url, server.sockets[0].getsockname()[1])
        async with started(program, "run") as process:
            _, err = await process.communicate()
    assert process.returncode == 2, err.decode()
    assert b"daemon.listen" in err


async def test_the_simulated_api_prints_its_url_and_answers(program):
    arguments = ("simulate", "--port", "0", "--key", "sk-try")
    async with asyncio.timeout(60), started(program, *arguments) as process:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        headers = {"Authorization": "Bearer sk-try"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{url}/fine_tuning/jobs") as answer,
        ):
            listed = await answer.json()
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
    assert process.returncode == 0
    assert listed["data"]
    assert b"OPENAI_BASE_URL" in err


async def test_azure_s_api_is_simulated_for_a_configuration_as_it_hints(program):
    arguments = ("simulate", "--kind", "azure", "--port", "0", "--key", "try")
    async with asyncio.timeout(60), started(program, *arguments) as process:
        assert process.stdout is not None
        endpoint = (await process.stdout.readline()).decode().strip()
        path = program.directory / "azure.toml"
        path.write_text(
            f'[source_defaults]\nkind = "azure"\nendpoint = "{endpoint}"\n'
            'api_key = "try"\n[sources.new]\n'
            '[sources.older]\napi_version = "2024-10-21"\n'
        )
        arguments = ("check", "--config", str(path))
        checked = await asyncio.to_thread(program, *arguments)
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
    assert b'kind = "azure", endpoint = "' in err
    assert checked.code == 0, checked.out + checked.err
    realm = f"azure:{endpoint} answers and has jobs"
    for name in ("new", "older"):
        assert f"ok      source {name}: {realm}" in checked.out


async def test_the_demo_shows_events_without_any_account(program):
    arguments = ("demo", "--speed", "600", "--seconds", "12")
    async with asyncio.timeout(90), started(program, *arguments) as process:
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert b"fine_tuning.job.running" in out
    assert b"refused:" not in err
    assert b"/metrics" in err
    assert b"its signature is good" in err
    heard = re.search(rb"(\d+) events came.* verified each.*; 0 were refused", err)
    assert heard is not None
    assert int(heard[1]) >= len(out.splitlines()) / 2
    assert re.search(rb"checkpoint.selected .* final: step \d+, ", out)
    assert b" is lowest at step " in err
    head, *rows = out[out.index(b"JOB ") :].decode().splitlines()
    assert head.split() == ["JOB", "ID", "OUTCOME", "BEST", "STEP", "VALUE", "REASON"]
    assert any(" failed " in row and "job_failed" in row for row in rows)
    assert max(map(len, out.decode().splitlines())) <= 100


def test_a_defect_is_70_with_a_hint_and_no_message(program):
    source = (
        "from tunewatch.cli import exits\n"
        "try:\n"
        "    raise RuntimeError('canary')\n"
        "except RuntimeError as error:\n"
        "    exits.end_for(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=program.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 70
    assert "a defect: RuntimeError at <string>:3" in done.stderr
    assert "canary" not in done.stderr
