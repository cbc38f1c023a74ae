from __future__ import annotations

import asyncio
import subprocess

import pytest

from support.program import Ended, Program
from tunewatch.testing import SimulatedApi

KEY = "sk-canary-91d2c0"


async def check(program: Program, api_url: str, **extra: str) -> Ended:
    """Run `tunewatch check` against an API that this process serves."""
    configuration = program.directory / "conf.toml"
    state = extra.get("state", f"sqlite:///{program.directory}/state.db")
    configuration.write_text(
        f"[daemon]\nstate = '{state}'\n[sources.research]\n"
        f"api_key_env = 'KEY'\nbase_url = '{api_url}'\n"
    )
    process = await asyncio.create_subprocess_exec(
        *program.command("--config", str(configuration), "check"),
        env={**program.environ, "KEY": KEY},
        cwd=program.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert KEY.encode() not in out + err
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
async def api():
    made = SimulatedApi()
    made.add_key(KEY)
    made.add_job()
    async with made.serve() as url:
        yield made, url


async def test_a_daemon_that_would_work_is_told_so_line_by_line(program, api):
    _, url = api
    done = await check(program, url)
    assert done.code == 0, done.out + done.err
    assert [line.split(":")[0] for line in done.out.splitlines()] == [
        "ok      configuration",
        "ok      plugin best_checkpoint",
        "ok      plugin prometheus",
        "ok      store",
        "ok      source research",
    ]
    assert "answers and has jobs" in done.out
    assert not (program.directory / "state.db").exists()


async def test_a_source_is_asked_one_question_only(program, api):
    served, url = api
    await check(program, url)
    assert [request.method for request in served.requests] == ["GET"]


async def test_a_refused_key_is_69(program, api):
    served, url = api
    served.revoke_key(KEY)
    done = await check(program, url)
    assert done.code == 69
    assert "failed  source research" in done.out


async def test_an_api_that_is_away_is_69(program):
    done = await check(program, "http://127.0.0.1:1/v1")
    assert done.code == 69
    assert "failed  source research" in done.out
    assert "Traceback" not in done.err


async def test_a_store_that_cannot_be_made_is_3(program, api):
    _, url = api
    (program.directory / "file").write_text("in the way")
    state = f"sqlite:///{program.directory}/file/deeper/state.db"
    done = await check(program, url, state=state)
    assert done.code == 3
    assert "failed  store" in done.out
