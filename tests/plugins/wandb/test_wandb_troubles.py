"""What goes wrong around W&B: nothing is lost of it, and everybody is told."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from support.wandb_server import KEY, ServedRun, WandbServer
from support.wandb_story import Story, account
from tunewatch.events import ReceiverTried
from tunewatch.plugin import Retry
from tunewatch.testing import examples
from tunewatch.testing.attempts import longest_hold
from tunewatch.testing.plugin_contract import BLOCKED

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "the server is in trouble"),
        (429, "HTTP 429"),
        (401, "error 401"),
        (403, "error 403"),
        (400, "error 400"),
    ],
)
async def test_a_refusal_is_told_in_its_words_and_healed_by_a_later_try(
    server, jobs, tmp_path, status, words
):
    job = Story(jobs)
    event = job.trained(1, 2)
    async with account(jobs, tmp_path, server.url, init_timeout="1s") as sink:
        server.status = status
        for _ in range(2):
            with pytest.raises(Retry) as told:
                await sink.deliver(event)
            assert words in told.value.reason
            assert KEY not in told.value.reason
            assert told.value.scope == "plugin"
        server.status = 200
        await sink.deliver(event)
    assert server.runs["ftjob-one"].points == [1, 2]


async def test_a_wrong_key_is_told_and_is_never_shown(server, jobs, tmp_path):
    wrong = "f" * 40
    job = Story(jobs)
    async with account(jobs, tmp_path, server.url, api_key=wrong) as sink:
        with pytest.raises(Retry) as told:
            await sink.deliver(job.trained(1))
    assert "the key is not known" in told.value.reason
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or wrong.encode() not in path.read_bytes(), path
    assert server.runs == {}


async def test_a_trouble_leaves_the_plugin_as_it_came(server, jobs, tmp_path):
    job = Story(jobs)
    server.status = 401
    with pytest.raises(Retry, match="error 401"):
        async with account(jobs, tmp_path, server.url) as sink:
            await sink.deliver(job.trained(1))


async def test_a_test_of_the_way_there_asks_whose_key_it_is(server, jobs, tmp_path):
    (test,) = [
        one for one in examples.deliveries() if one.event.type == ReceiverTried.TYPE
    ]
    async with account(jobs, tmp_path, server.url) as sink:
        receipt = await sink.deliver(test)
        assert receipt is not None
        assert receipt.answer == "the key is of acme"
    async with account(jobs, tmp_path, server.url, api_key="f" * 40) as sink:
        with pytest.raises(Retry) as told:
            await sink.deliver(test)
    assert "sign in" in told.value.reason
    assert "f" * 40 not in told.value.reason
    assert server.runs == {}


async def test_a_server_that_takes_no_artifacts_has_the_run_all_the_same(
    server, jobs, tmp_path
):
    server.refused = frozenset({"CreateArtifact"})
    job = Story(jobs)
    async with account(jobs, tmp_path, server.url) as sink:
        await sink.deliver(job.trained(1))
        await sink.deliver(job.status("succeeded"))
        await sink.deliver(job.settles())
    assert server.runs["ftjob-one"].points == [1]
    assert server.runs["ftjob-one"].exits == [0]


@pytest.mark.parametrize(
    "nonsense",
    [
        {"createArtifact": None},  # of which the client's helper dies
        {"createArtifact": {"artifact": {"id": "a", "state": "ODD"}}},
        {"createArtifact": "x"},
    ],
)
async def test_nonsense_about_artifacts_costs_them_and_neither_the_run_nor_the_others(
    server, jobs, tmp_path, nonsense
):
    server.instead["CreateArtifact"] = nonsense
    job, other = Story(jobs), Story(jobs, "ftjob-two")
    job.trained(1)
    ended = job.status("succeeded")
    async with account(jobs, tmp_path, server.url) as sink:
        for event in (ended, other.trained(1), job.settles()):
            tries = 0
            while True:
                try:
                    await sink.deliver(event)
                except Retry:
                    tries += 1
                    assert tries <= 3
                else:
                    break
        await sink.deliver(other.trained(2))
    assert server.runs["ftjob-one"].points == [1]
    assert server.runs["ftjob-one"].exits[-1] == 0
    assert server.runs["ftjob-two"].points == [1, 2]
    assert server.calls.count("CreateArtifact") < 20


async def test_a_project_that_may_not_be_made_is_told(server, jobs, tmp_path):
    server.refused = frozenset({"UpsertBucket"})
    job = Story(jobs)
    event = job.trained(1)
    async with account(jobs, tmp_path, server.url) as sink:
        with pytest.raises(Retry) as told:
            await sink.deliver(event)
        assert "permission denied" in told.value.reason
        server.refused = frozenset()
        await sink.deliver(event)
    assert server.runs["ftjob-one"].points == [1]


async def test_a_server_that_hangs_holds_up_neither_the_loop_nor_the_end(
    server, jobs, tmp_path
):
    job, other = Story(jobs, "ftjob-1"), Story(jobs, "ftjob-2")
    times = {"init_timeout": "1s", "finish_timeout": "1s"}

    async def live() -> None:
        async with account(jobs, tmp_path, server.url, **times) as sink:
            await sink.deliver(job.trained(1))
            server.hangs = True
            with pytest.raises(Retry):
                await sink.deliver(other.trained(1))
            with pytest.raises(Retry, match="not taken all of it within 1 s"):
                await sink.deliver(job.settles())

    began = time.monotonic()
    held = await longest_hold(live())
    assert held < 4 * BLOCKED
    assert time.monotonic() - began < 10
    server.hangs = False
    # As the dispatcher does: what was refused comes again.
    async with account(jobs, tmp_path, server.url) as sink:
        await sink.deliver(job.settles())
        await sink.deliver(other.repeated(1))
    assert server.runs["ftjob-1"].points == [1]
    assert server.runs["ftjob-2"].points == [1]


async def test_a_dead_helper_is_replaced_and_every_run_made_good(
    server, jobs, tmp_path
):
    one, two = Story(jobs, "ftjob-1"), Story(jobs, "ftjob-2")
    async with account(jobs, tmp_path, server.url) as sink:
        await sink.deliver(one.trained(1, 2))
        await sink.deliver(two.trained(1))
        (helper,) = [p for p in psutil.Process().children() if "wandb" in p.name()]
        helper.kill()
        helper.wait(5)
        event = one.trained(3)
        with pytest.raises(Retry, match="helper process is gone"):
            await sink.deliver(event)
        await sink.deliver(event)
        await sink.deliver(two.trained(2))
    assert server.runs["ftjob-1"].points == [1, 2, 3]
    assert server.runs["ftjob-2"].points == [1, 2]


async def test_a_helper_that_dies_while_no_run_is_open_is_replaced_as_well(
    server, jobs, tmp_path
):
    (test,) = [
        one for one in examples.deliveries() if one.event.type == ReceiverTried.TYPE
    ]
    one, two = Story(jobs, "ftjob-1"), Story(jobs, "ftjob-2")

    async def dies(sink, found_out_by):
        (helper,) = [p for p in psutil.Process().children() if "wandb" in p.name()]
        helper.kill()
        helper.wait(5)
        with pytest.raises(Retry, match="helper process is gone"):
            await sink.deliver(found_out_by)
        await sink.deliver(found_out_by)

    async with account(jobs, tmp_path, server.url) as sink:
        for event in (one.trained(1), one.status("succeeded"), one.settles()):
            await sink.deliver(event)
        await dies(sink, two.trained(1))
        for event in (two.status("succeeded"), two.settles()):
            await sink.deliver(event)
        await dies(sink, test)
    assert server.runs["ftjob-2"].points == [1]
    assert server.runs["ftjob-2"].exits == [0]


async def test_an_idle_run_is_closed_and_comes_back_with_news(server, jobs, tmp_path):
    job = Story(jobs)
    async with account(jobs, tmp_path, server.url, idle="100ms") as sink:
        await sink.deliver(job.trained(1))
        run = server.runs["ftjob-one"]
        async with asyncio.timeout(10):
            while not run.exits:  # noqa: ASYNC110 - the server's thread sets it
                await asyncio.sleep(0.02)
        await sink.deliver(job.trained(2))
    assert run.points == [1, 2]


async def test_a_run_left_behind_by_a_takeover_never_undoes_how_the_job_ended(
    server, jobs, tmp_path
):
    job = Story(jobs)
    async with account(jobs, tmp_path / "a", server.url, idle="100ms") as before:
        await before.deliver(job.trained(1))
        async with account(jobs, tmp_path / "b", server.url) as after:
            await after.deliver(job.status("succeeded"))
            # In one process the client holds a run's id once: it waited for us.
            await after.deliver(job.settles())
    assert server.runs["ftjob-one"].exits[-1] == 0


async def test_a_run_left_behind_by_a_takeover_takes_nothing_back_of_its_summary(
    server, jobs, tmp_path
):
    job = Story(jobs)
    async with account(jobs, tmp_path, server.url) as sink:
        await sink.deliver(job.status("running"))
        await sink.deliver(job.trained(1))
        # Another replica tells the rest: this one knows it from the store.
        job.trained(2)
        job.status("succeeded")
        job.settles()
        job.selected(2, 0.25)
    run = server.runs["ftjob-one"]
    assert run.points == [1]
    assert (run.summary["point"], run.summary["train_loss"]) == (2, 0.5)
    assert run.summary["status"] == "succeeded"
    assert run.summary["best/decision"] == "final"
    assert run.exits[-1] == 0
    assert server.artifacts == []


async def test_the_disk_does_not_fill_with_what_wandb_has(server, jobs, tmp_path):
    job = Story(jobs)
    async with account(jobs, tmp_path, server.url) as sink:
        await sink.deliver(job.trained(1))
        assert list(tmp_path.glob("wandb/run-*"))
        await sink.deliver(job.status("succeeded"))
        await sink.deliver(job.settles())
        assert not list(tmp_path.glob("wandb/run-*"))
        assert not list(tmp_path.glob("open/*"))
    left = tmp_path / "wandb" / "run-20250101_000000-ftjob-old"
    left.mkdir()
    (left / "run-ftjob-old.wandb").write_bytes(b"")
    os.utime(left / "run-ftjob-old.wandb", (1, 1))
    async with account(jobs, tmp_path, server.url), asyncio.timeout(10):
        while left.exists():  # noqa: ASYNC110 - a thread removes it
            await asyncio.sleep(0.02)


@contextmanager
def worker(directory: Path, server: WandbServer, **environ: str):
    """Run `support.wandb_worker`; yields the process and what tells it something."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.wandb_worker", str(directory), server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=TESTS,
        env={**os.environ, **environ},
        # Whatever runs in the background hands on that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )

    def tell(words: str, *, heard: bool = True) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(words + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip() if heard else ""

    try:
        yield process, tell
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):  # what was written to the dead
                stream.close()


def test_kills_at_any_moment_lose_and_double_nothing(server, tmp_path):
    last = 0
    for number in range(2):
        with worker(tmp_path, server) as (process, tell):
            last += 40
            assert tell(f"points {last - 20}") == "done"
            helpers = psutil.Process(process.pid).children()
            tell(f"points {last}", heard=False)
            time.sleep(0.07 * number)  # each at another moment
            process.kill()
            process.wait()
            # The helper goes with us: it is nobody's orphan.
            gone, alive = psutil.wait_procs(helpers, timeout=10)
            assert not alive
            assert gone
    with worker(tmp_path, server) as (_, tell):
        assert tell(f"points {last}") == "done"
        assert tell("settle") == "done"
    assert server.runs["ftjob-one"].points == list(range(1, last + 1))
    assert server.runs["ftjob-one"].exits == [0]


def test_the_process_ends_in_bounded_time_though_the_server_hangs(server, tmp_path):
    with worker(tmp_path, server) as (process, tell):
        assert tell("points 5") == "done"
        server.hangs = True
        began = time.monotonic()
        tell("close", heard=False)
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - began < 15
    server.hangs = False
    with worker(tmp_path, server) as (_, tell):
        assert tell("points 6") == "done"
        assert tell("settle") == "done"
    assert server.runs["ftjob-one"].points == [1, 2, 3, 4, 5, 6]


def test_the_process_ends_though_the_server_never_answered(server, tmp_path):
    server.hangs = True
    with worker(tmp_path, server) as (process, tell):
        assert "cannot open a run" in tell("points 1")
        began = time.monotonic()
        tell("close", heard=False)
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - began < 15


def test_many_jobs_at_once_are_no_trouble_for_a_library_just_imported(server, tmp_path):
    with worker(tmp_path, server) as (_, tell):
        assert tell("many 8") == "done"
        tell("close")
    assert [run.points for run in server.runs.values()] == [[1]] * 8


def test_signals_are_ours_as_they_were(server, tmp_path):
    with worker(tmp_path, server) as (process, tell):
        assert tell("points 1") == "done"
        os.kill(process.pid, signal.SIGINT)  # asyncio's own handler, not W&B's
        process.stdin.close()  # which a thread of the worker is reading
        assert process.wait(timeout=20) != 0
    assert server.runs["ftjob-one"].points == [1]


def test_what_the_environment_says_of_one_run_is_said_of_none(server, tmp_path):
    names = ("NAME", "TAGS", "NOTES", "RUN_ID", "RUN_GROUP", "RESUME", "SWEEP_ID")
    environ = {f"WANDB_{name}": "never" for name in names}
    environ["WANDB_MODE"] = "disabled"
    with worker(tmp_path, server, **environ) as (process, tell):
        assert tell("points 1") == "done"
        tell("close", heard=False)
        assert process.wait(timeout=20) == 0
    (run,) = server.runs.values()
    assert (run.name, run.display, run.group) == ("ftjob-one", "support-bot", None)
    assert "never" not in run.tags
    assert "finetune/ftjob-one" in run.notes
    assert run.points == [1]


async def test_nothing_but_runs_is_told_to_the_server(server, jobs, tmp_path):
    job = Story(jobs)
    async with account(jobs, tmp_path, server.url) as sink:
        await sink.deliver(job.trained(1))
        await sink.deliver(job.status("succeeded"))
        await sink.deliver(job.settles())
    assert not [call for call in server.calls if "otel" in call or "sentry" in call]
    said = server.runs["ftjob-one"].said["_wandb"]["value"]
    assert "host" not in said
    assert not [call for call in server.calls if "requirements" in call]


async def test_a_missing_run_of_the_provider_is_told_and_never_made(
    server, jobs, tmp_path
):
    theirs = {"type": "wandb", "wandb": {"project": "theirs"}}
    job = Story(jobs, integrations=(theirs,))
    async with account(jobs, tmp_path, server.url, when_server_side="annotate") as sink:
        with pytest.raises(Retry) as told:
            await sink.deliver(job.status("succeeded"))
        assert told.value.scope == "lane"
        assert server.runs == {}
        server.runs["ftjob-one"] = ServedRun("ftjob-one", "theirs", "acme")
        server.runs["ftjob-one"].said = {"_wandb": {"value": {"t": {"1": 1}}}}
        await sink.deliver(job.status("succeeded"))
    assert server.runs["ftjob-one"].summary["status"] == "succeeded"
