"""`tunewatch events`: what happened, and what happens, over restarts of the daemon."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
from contextlib import asynccontextmanager

import pytest

from support.databases import free_port
from support.operator_api import operator_api
from support.program import Program
from tunewatch.config import Address


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


@asynccontextmanager
async def daemon(program: Program, port: int = 0):
    url = f"sqlite:///{program.directory}/state.db"
    async with operator_api(url, address=Address("127.0.0.1", port)) as operator:
        yield operator


class Followed:
    """A command that follows, line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def told(self, words: str) -> None:
        """Wait until it says something on stderr."""
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            while line := await self.process.stderr.readline():
                if words in line.decode():
                    return
        raise AssertionError(words)


@asynccontextmanager
async def following(program: Program, *arguments: str):
    process = await asyncio.create_subprocess_exec(
        *program.command("events", "--follow", *arguments),
        env=program.environ,
        cwd=program.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Started in the background, we may have been told to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield Followed(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_newest_events_are_shown_oldest_first(program):
    async with daemon(program) as operator:
        for name in ("a", "b", "c"):
            await operator.filling.job(name)
        done = await asyncio.to_thread(program, "events", "--limit", "3")
        everything = await asyncio.to_thread(program, "events")
    lines = done.out.splitlines()
    assert lines[0].split() == ["TIME", "SOURCE", "JOB", "EVENT", "WHAT"]
    assert [line.split()[2] for line in lines[1:]] == ["b", "c", "c"]
    assert "there are more" in done.err
    assert len(everything.out.splitlines()) == 7
    assert everything.err == ""


async def test_what_a_line_says_of_an_event(program):
    async with daemon(program) as operator:
        await operator.filling.job(
            "a",
            status="failed",
            error={"code": "bad_file", "message": "of \x1b[31mcolour"},
            points={7: {"train_loss": 0.5, "scores.graders.x": 1.0}},
            checkpoints={7: {}},
        )
        done = await asyncio.to_thread(program, "events")
    said = {line.split()[3]: line for line in done.out.splitlines()}
    assert "step 7: train_loss=0.5 and 1 more" in said["fine_tuning.event.metrics"]
    assert "step 7, ft:gpt" in said["fine_tuning.checkpoint.created"]
    assert "bad_file: of ?[31mcolour" in said["fine_tuning.job.failed"]
    assert "\x1b" not in done.out


async def test_events_since_are_all_there_are(program):
    async with daemon(program) as operator:
        for n in range(40):
            await operator.filling.job(f"j{n}")
        since = await asyncio.to_thread(program, "events", "--since", "1h")
        first = await asyncio.to_thread(
            program, "events", "--since", "1h", "--limit", "1"
        )
        later = await asyncio.to_thread(program, "events", "--since", "2100-01-01")
    assert len(since.out.splitlines()) == 81
    assert "j0 " in first.out
    assert len(later.out.splitlines()) == 1


def test_a_moment_that_is_none_is_a_usage_error(program):
    done = program("events", "--since", "yesterday")
    assert done.code == 2
    assert "so long ago, such as 2h" in done.err


@pytest.mark.parametrize("by", ["store", "url"])
async def test_following_goes_on_over_a_restart_without_gap_or_repetition(program, by):
    port = free_port()
    where = ["--url", f"http://127.0.0.1:{port}"] if by == "url" else []
    async with daemon(program, port) as operator:
        await operator.filling.job("a")
        first = await operator.store.reads.events(limit=100)
        command = following(program, "-o", "json", "--limit", "1", *where)
        followed = await command.__aenter__()
        seen = [json.loads(await followed.line())["id"]]
        assert seen == [first[-1].id]
        await operator.filling.job("b")
        seen += [json.loads(await followed.line())["id"] for _ in range(2)]
    if by == "url":
        await followed.told("ended the stream")
    async with daemon(program, port) as operator:
        await operator.filling.job("c")
        seen += [json.loads(await followed.line())["id"] for _ in range(2)]
        if by == "url":
            await followed.told("going on")
        expected = [event.id for event in await operator.store.reads.events(limit=100)]
    assert seen == expected[1:]
    followed.process.send_signal(signal.SIGINT)
    assert await followed.process.wait() == 130
    await command.__aexit__(None, None, None)


@pytest.mark.parametrize("by", ["store", "url"])
async def test_following_shows_only_what_was_asked_for_in_steady_columns(program, by):
    async with daemon(program) as operator:
        await operator.filling.job("a")
        where = ["--url", operator.url] if by == "url" else []
        async with following(program, "--type", "@terminal", *where) as followed:
            head = await followed.line()
            await operator.filling.job("b")
            await operator.filling.job("c", status="failed")
            line = await followed.line()
    assert re.split(r"\s{2,}", head) == ["TIME", "SOURCE", "JOB", "EVENT", "WHAT"]
    assert line[head.index("JOB") :].startswith("c ")
    assert line[head.index("EVENT") :].startswith("fine_tuning.job.failed")


async def test_a_reset_is_said_and_following_goes_on(program):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with daemon(program, port) as operator:
        await operator.filling.job("a")
        command = following(program, "-o", "json", "--limit", "1", "--url", url)
        followed = await command.__aenter__()
        await followed.line()
        await operator.filling.job("b")
        await followed.line()
        await followed.line()
    for path in program.directory.glob("state.db*"):
        path.unlink()
    async with daemon(program, port) as operator:
        await followed.told("some events may be missing")
        await operator.filling.job("c")
        assert json.loads(await followed.line())["data"]["id"] == "c"
    await command.__aexit__(None, None, None)


async def test_the_end_of_a_pipe_ends_it_without_a_word(program):
    async with daemon(program) as operator:
        await operator.filling.job("a")
        read, write = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *program.command("events", "--follow", "--url", operator.url),
            env=program.environ,
            cwd=program.directory,
            stdout=write,
            stderr=subprocess.PIPE,
        )
        os.close(write)
        await asyncio.to_thread(os.read, read, 10)
        os.close(read)
        for number in itertools.count():
            if process.returncode is not None:
                break
            await operator.filling.job(f"j{number}")
            await asyncio.sleep(0.1)
        assert process.stderr is not None
        assert await process.stderr.read() == b""
        assert process.returncode == 0
