"""Commands that read ask a daemon by its URL and say the same as from its store."""

from __future__ import annotations

import asyncio
import json
import socket
import struct

import pytest

from support.operator_api import operator_api
from support.program import Ended, Program
from tunewatch.config import Address

TOKEN = "token-canary-4711"
ANYWHERE = Address("0.0.0.0", 0)  # noqa: S104 - inside of the test's own machine


@pytest.fixture
def program(tmp_path):
    made = Program(tmp_path)
    configuration = tmp_path / "conf.toml"
    configuration.write_text(
        f"[daemon]\nstate = 'sqlite:///{tmp_path}/state.db'\n"
        "[sources.research]\napi_key = 'k'\nbase_url = 'http://127.0.0.1:1/v1'\n"
    )
    made.environ["TUNEWATCH_CONFIG"] = str(configuration)
    return made


@pytest.fixture
async def operator(program):
    async with operator_api(f"sqlite:///{program.directory}/state.db") as operator:
        to = operator.filling
        await to.job(
            "ftjob-run",
            created_at=1_760_000_300,
            suffix="router",
            metadata={"team": "a"},
            error={"code": "odd", "message": "an \x1b[31modd error"},
            points={n: {"train_loss": 1 / n} for n in range(1, 1201)},
            checkpoints={10: {"full_valid_loss": 1.5}},
        )
        await to.job("ftjob-done", created_at=1_760_000_200, status="succeeded")
        await to.job("ftjob-none", created_at=1_760_000_100, status="failed")
        for source, realm in (("research", "openai:https://api"), ("other", "b:b")):
            await to.job("twin", source=source, realm=realm, created_at=1_750_000_000)
        await to.choose(
            "ftjob-done",
            "selected",
            checkpoint={"step_number": 20, "fine_tuned_model_checkpoint": "ft:done:20"},
            decision="final",
            metric="full_valid_loss",
            value=0.5,
        )
        told = {"reason": "job_failed", "detail": "the job failed"}
        await to.choose("ftjob-none", "unselected", **told)
        yield operator


async def run(program: Program, *arguments: str, **environ: str) -> Ended:
    return await asyncio.to_thread(program, *arguments, **environ)


ASKED = {
    "jobs": ["jobs"],
    "jobs in pages": ["jobs", "--limit", "2"],
    "jobs as json": ["jobs", "-o", "json", "--metadata", "team=a"],
    "jobs of a kind": ["jobs", "--unsettled", "--source", "other", "-o", "yaml"],
    "a job": ["show", "ftjob-run"],
    "a job as json": ["show", "ftjob-run", "-o", "json"],
    "a twin": ["show", "twin", "--source", "other"],
    "twins": ["show", "twin"],
    "no such job": ["show", "nobody"],
    "a place that is gone": ["jobs", "--after", "nobody"],
    "the best": ["best", "ftjob-done"],
    "the best of a family": ["best", "--suffix", "nothing"],
    "no best": ["best", "ftjob-none"],
    "no best of nobody": ["best", "nobody"],
    "events": ["events", "--limit", "7"],
    "events of a job": ["events", "ftjob-run", "--type", "@status", "-o", "json"],
    "events since": ["events", "--since", "1h", "--type", "tunewatch.*"],
    "events of nobody": ["events", "nobody"],
    "deliveries": ["deliveries", "--limit", "2"],
    "deliveries as json": ["deliveries", "--outcome", "failed", "-o", "json"],
    "dead letters": ["deliveries", "--dead"],
    "deliveries of nobody": ["deliveries", "--job", "nobody"],
    "a wrong group": ["events", "--type", "@nope"],
}


@pytest.mark.parametrize("asked", ASKED)
async def test_a_daemon_says_what_its_store_says(program, operator, asked):
    arguments = ASKED[asked]
    stored = await run(program, *arguments)
    told = await run(program, *arguments, "--url", operator.url)
    assert told.out == stored.out
    assert told.code == stored.code
    if asked == "a wrong group":
        assert "groups" in stored.err
        assert "groups" in told.err
    else:
        assert told.err.replace("after: ", "") == stored.err
    assert "\x1b" not in told.out
    assert "Traceback" not in told.err + stored.err


async def test_the_url_can_be_given_by_the_environment(program, operator):
    done = await run(program, "jobs", TUNEWATCH_URL=f"{operator.url}/")
    assert done.code == 0, done.err
    assert "ftjob-run" in done.out
    del program.environ["TUNEWATCH_CONFIG"]
    alone = await run(program, "jobs", TUNEWATCH_URL=operator.url)
    assert alone.out == done.out


async def test_a_configuration_that_is_named_wins_over_the_environment(program):
    config = program.environ.pop("TUNEWATCH_CONFIG")
    done = await run(
        program, "jobs", "--config", config, TUNEWATCH_URL="http://127.0.0.1:1"
    )
    assert done.code == 3
    assert "there is no store at" in done.err
    both = await run(program, "--config", config, "jobs", "--url", "http://127.0.0.1:1")
    assert both.code == 2
    assert "keep one" in both.err


@pytest.mark.parametrize("url", ["127.0.0.1:9478", "ftp://x", "http://", "http:///x"])
async def test_a_url_that_is_none_is_a_usage_error(program, url):
    done = await run(program, "jobs", "--url", url)
    assert done.code == 2
    assert "such as http://127.0.0.1:9478" in done.err


async def test_a_daemon_that_is_away_is_69_and_says_what_to_do(program):
    for arguments in (["jobs"], ["best", "a"], ["events", "--follow"], ["plugins"]):
        done = await run(program, *arguments, "--url", "http://127.0.0.1:1")
        assert (done.code, done.out) == (69, "")
        assert "cannot reach a daemon at http://127.0.0.1:1" in done.err
        assert "connection refused" in done.err
        assert "start `tunewatch run`" in done.err


async def test_whoever_is_hung_up_on_is_told_of_tls_and_certificates(program):
    """A farewell of TLS is lost to a reset when a request was under way by then."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        taken = writer.get_extra_info("socket")
        # Not to linger is to reset.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        done = await run(program, "jobs", "--url", f"http://127.0.0.1:{port}")
    assert done.code == 69
    assert "--cert-file" in done.err


async def test_something_else_at_that_address_is_69(program):
    async def hello(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        done = await run(program, "jobs", "--url", f"http://127.0.0.1:{port}")
    assert done.code == 69
    assert "nothing that this version understands" in done.err


async def test_the_token_comes_from_a_file_or_the_environment(program):
    url = f"sqlite:///{program.directory}/state.db"
    async with operator_api(url, address=ANYWHERE, token=lambda: TOKEN) as operator:
        await operator.filling.job("ftjob-run")
        kept = program.directory / "token"
        kept.write_text(f"{TOKEN}\n")
        at = ("jobs", "--url", operator.url)
        for arguments, environ in (
            ((*at, "--token-file", str(kept)), {}),
            (at, {"TUNEWATCH_TOKEN_FILE": str(kept)}),
            (at, {"TUNEWATCH_TOKEN": TOKEN}),
        ):
            done = await run(program, *arguments, **environ)
            assert done.code == 0, done.err
            assert "ftjob-run" in done.out
        for environ in ({}, {"TUNEWATCH_TOKEN": "wrong-canary"}):
            done = await run(program, *at, **environ)
            assert (done.code, done.out) == (2, "")
            assert "--token-file" in done.err
            assert "canary" not in done.err
        missing = await run(program, *at, "--token-file", "nowhere")
        assert missing.code == 2
        assert "wanted a token in nowhere" in missing.err


async def test_plugins_are_told_by_the_daemon_with_their_state(program, operator):
    done = await run(program, "plugins", "-o", "json", "--url", operator.url)
    assert done.code == 0, done.err
    assert json.loads(done.out)["data"] == []
