"""What keeps the daemon from starting: said in one paragraph, with an exit code."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.program import Program
from support.running import QUICK, configure, ended, running
from support.simulated_org import simulated

KEY = "sk-refusing"


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
async def configured(program):
    async with simulated(KEY) as (_, url):
        configure(
            program,
            f'[sources.a]\nbase_url = "{url}"\napi_key = "{KEY}"\n{QUICK}',
        )
        yield program


async def test_a_second_daemon_stops_within_a_second_and_says_who_has_the_store(
    configured,
):
    async with running(configured) as first:
        second = beside(configured)
        took = []
        while len(took) < 3 and min(took, default=1.0) >= 1.0:  # on a busy machine
            start = time.monotonic()
            done = await ended(second, "run")
            took.append(time.monotonic() - start)
            assert done.code == 3
            assert f"is in use by process {first.process.pid}" in done.err
        assert min(took) < 1.0, took
        assert first.process.returncode is None
        assert (await first.ready())[0] == 200
        assert await first.stop() == 0
    again = await ended(configured, "run", "--once")
    assert again.code == 0, again.err


async def test_a_store_is_free_again_after_a_kill(configured):
    async with running(configured) as first:
        first.process.kill()
        await first.process.wait()
    again = await ended(configured, "run", "--once")
    assert again.code == 0, again.err


@pytest.mark.parametrize("damage", ["garbage", "header", "middle", "cut"])
async def test_a_damaged_file_is_refused_and_left_as_it_is(configured, damage):
    assert (await ended(configured, "run", "--once")).code == 0
    file = configured.directory / "state.db"
    body = file.read_bytes()
    spoilt = {
        "garbage": b"this is no database " * 500,
        "header": b"\0" * 100 + body[100:],
        "middle": body[:4096] + b"\xff" * (len(body) - 8192) + body[-4096:],
        "cut": body[: len(body) // 2],
    }[damage]
    file.write_bytes(spoilt)
    for rest in ("-wal", "-shm"):
        file.with_name(file.name + rest).unlink(missing_ok=True)
    done = await ended(configured, "run", "--once")
    assert done.code == 3, done.err
    assert str(file) in done.err
    assert "Traceback" not in done.err
    assert file.read_bytes() == spoilt


async def test_every_mistake_of_a_configuration_is_told_at_once(program):
    configure(
        program,
        """
[sources.research]
api_kye_env = "X"
poll_interval = "15 parsecs"

[sources.product]
kind = "opneai"
api_key = "k"

[plugins.ops]
kind = "webhook"
url = "ftp://example.com/x"

[plugins.pager]
kind = "webhok"
""",
    )
    done = await ended(program, "run")
    assert done.code == 2
    for named in (
        "sources.research.api_kye_env",
        "api_key_env",
        "sources.research.poll_interval",
        "sources.product.kind",
        "plugins.ops.url",
        "plugins.ops.secret",
        "plugins.pager",
    ):
        assert named in done.err, named
    assert "parsecs" not in done.err
    assert not (program.directory / "state.db").exists()


async def test_a_port_that_is_taken_is_told(configured):
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        configured.environ["TUNEWATCH_DAEMON__LISTEN"] = f"127.0.0.1:{port}"
        done = await ended(configured, "run")
    assert done.code == 2
    assert "daemon.listen" in done.err
    assert str(port) in done.err


async def test_a_configuration_that_is_not_there_is_told(program):
    done = await ended(program, "--config", "/nowhere/tunewatch.toml", "run")
    assert done.code == 2
    assert "/nowhere/tunewatch.toml" in done.err


def beside(program: Program) -> Program:
    """Return a program with the same configuration and a home of its own."""
    directory = program.directory / "second"
    directory.mkdir()
    made = Program(directory)
    made.environ["TUNEWATCH_CONFIG"] = program.environ["TUNEWATCH_CONFIG"]
    return made
