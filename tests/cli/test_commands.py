from __future__ import annotations

import asyncio
import base64
import json
import os
import pwd
import re
import subprocess
import tomllib

import pytest
import yaml

from support.distribution import write_package
from support.filled_store import filling
from support.program import Program
from tunewatch.config import read_tokens
from tunewatch.testing.signatures import signature_problem
from tunewatch_plugins.webhook.signing import keyring

KEY = "sk-canary-91d2c0"


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
def configured(program):
    """A program with a configuration, and no store yet."""
    configuration = program.directory / "conf.toml"
    configuration.write_text(
        f"[daemon]\nstate = 'sqlite:///{program.directory}/state.db'\n"
        "[sources.research]\napi_key_env = 'KEY'\n"
        "base_url = 'http://127.0.0.1:1/v1'\n"
    )
    program.environ |= {"KEY": KEY, "TUNEWATCH_CONFIG": str(configuration)}
    return program


@pytest.fixture
async def stocked(configured):
    """A program with a store that has jobs in it."""
    async with filling(configured.directory / "state.db") as to:
        await to.job(
            "ftjob-run",
            created_at=1_760_000_300,
            suffix="router",
            metadata={"team": "a"},
            points={11: {"train_loss": 1.25}, 12: {"train_loss": 1.125}},
            checkpoints={10: {"full_valid_loss": 1.5}},
        )
        await to.job(
            "ftjob-done",
            created_at=1_760_000_200,
            status="succeeded",
            suffix="router",
            metadata={"team": "a"},
        )
        await to.job("ftjob-none", created_at=1_760_000_100, status="failed")
        await to.job("ftjob-evil", suffix="\x1b[31mred\nline", created_at=1_760_000_000)
        await to.choose(
            "ftjob-run",
            "selected",
            checkpoint={"step_number": 10, "fine_tuned_model_checkpoint": "ft:run:10"},
            decision="provisional",
            metric="full_valid_loss",
            value=1.5,
        )
        await to.choose(
            "ftjob-done",
            "selected",
            checkpoint={"step_number": 20, "fine_tuned_model_checkpoint": "ft:done:20"},
            decision="final",
            metric="full_valid_loss",
            value=0.5,
        )
        await to.choose(
            "ftjob-none", "unselected", reason="job_failed", detail="the job failed"
        )
        await to.job("ftjob-twin", created_at=1_750_000_000)
        await to.job(
            "ftjob-twin",
            created_at=1_750_000_000,
            source="other",
            realm="openai:https://other",
        )
    return configured


def test_the_help_lists_every_command_and_imports_none(program):
    done = program("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0
    for name in ("run", "demo", "check", "jobs", "show", "best", "plugins", "secret"):
        assert f"\n  {name} " in done.out
    for heavy in ("pydantic", "sqlalchemy", "aiohttp", "asyncio", "openai"):
        assert f"| {heavy}\n" not in done.err
        assert f"|   {heavy}" not in done.err


def test_a_command_that_reads_the_store_imports_no_more_than_it_needs(stocked):
    done = stocked("jobs", PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "tunewatch.store.carrier" in imported
    assert imported.isdisjoint({"structlog", "aiohttp", "openai", "rich", "alembic"})


@pytest.mark.parametrize(
    "name",
    [
        *("run", "demo", "simulate", "check", "jobs", "show", "best", "plugins"),
        *("events", "completion", "backup", "audit", "deliveries", "redeliver"),
        *("config", "secret", "version"),
    ],
)
def test_every_command_has_help(program, name):
    done = program(name, "--help")
    assert done.code == 0, done.err
    assert done.out.startswith(f"Usage: tunewatch {name}")


@pytest.mark.parametrize(
    "arguments", [["jobz"], ["jobs", "--lmit", "3"], ["best"], ["show"], []]
)
def test_wrong_usage_ends_with_2_and_says_why_on_stderr(program, arguments):
    done = program(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err


def test_the_version_is_printed_both_ways(program):
    assert program("version").out.startswith("tunewatch 0.")
    assert program("--version").out.startswith("tunewatch, version 0.")


def test_a_secret_is_fresh_and_of_the_right_form(program):
    first, second = program("secret").out.strip(), program("secret").out.strip()
    assert first != second
    for secret in (first, second):
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


def test_an_ed25519_key_is_printed_and_its_public_half_beside_it(program):
    done = program("secret", "--kind", "ed25519")
    private = base64.b64decode(done.out.strip().removeprefix("whsk_"), validate=True)
    assert done.out.startswith("whsk_")
    assert len(private) == 64
    public = base64.b64encode(private[32:]).decode()
    assert done.err == f"for the receiver: whpk_{public}\n"
    assert program("secret", "--kind", "ed25519").out != done.out


def test_an_ed25519_key_signs_what_its_public_half_verifies(program):
    done = program("secret", "--kind", "ed25519")
    headers = keyring(done.out).headers("evt_1", 1_760_000_000, b"{}")
    public = done.err.split()[-1]
    assert not signature_problem(headers, b"{}", secrets=[public], now=1_760_000_000)


def test_without_the_package_for_ed25519_it_says_what_to_install(tmp_path):
    gone = {"cryptography": "raise ModuleNotFoundError(__name__)"}
    program = Program(tmp_path, sites=(write_package(tmp_path, "gone", {}, gone),))
    done = program("secret", "--kind", "ed25519")
    assert (done.code, done.out) == (2, "")
    assert "pip install 'tunewatch[ed25519]'" in done.err
    assert program("secret").code == 0


def test_jobs_are_listed_newest_first_and_in_full(stocked):
    done = stocked("jobs")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split()[:3] == ["JOB", "SOURCE", "STATUS"]
    ids = [line.split()[0] for line in lines[1:]]
    assert ids == [
        *("ftjob-run", "ftjob-done", "ftjob-none", "ftjob-evil"),
        *("ftjob-twin", "ftjob-twin"),
    ]
    assert "12/90" in lines[1]
    assert "1.125" in lines[1]
    assert "~step 10" in lines[1]
    assert "2025-10-09T08:58:20Z" in lines[1]
    assert lines[2].endswith("step 20")
    assert "\x1b" not in done.out


def test_what_a_job_is_called_cannot_steer_the_terminal(stocked):
    done = stocked("jobs", "--source", "research")
    assert "?[31mred?line" in done.out
    assert len(done.out.splitlines()) == 6


def test_jobs_can_be_filtered_and_paged(stocked):
    assert "ftjob-done" in stocked("jobs", "--status", "succeeded").out
    assert "ftjob-run" not in stocked("jobs", "--status", "succeeded").out
    page = stocked("jobs", "--limit", "1")
    assert "there are more: --after at_" in page.err
    for after in (re.findall(r"at_\w+", page.err)[0], "ftjob-run"):
        following = stocked("jobs", "--limit", "1", "--after", after)
        assert "ftjob-done" in following.out
    unknown = stocked("jobs", "--after", "ftjob-nope")
    assert unknown.code == 2
    assert "there is no job ftjob-nope" in unknown.err
    assert len(stocked("jobs", "--source", "other").out.splitlines()) == 2


def test_jobs_as_json_and_as_yaml_say_the_same(stocked):
    as_json = json.loads(stocked("jobs", "-o", "json").out)
    as_yaml = yaml.safe_load(stocked("jobs", "-o", "yaml").out)
    assert as_json == as_yaml
    assert as_json["has_more"] is False
    first = as_json["data"][0]
    assert first["job"]["id"] == "ftjob-run"
    assert first["job"]["metadata"] == {"team": "a"}
    assert first["latest"]["train_loss"] == 1.125


def test_one_job_is_shown_in_full(stocked):
    done = stocked("show", "ftjob-run")
    assert done.code == 0
    for told in ("router", "team=a", "12/90", "train_loss", "ft:run:10", "provisional"):
        assert told in done.out
    told = json.loads(stocked("show", "ftjob-run", "-o", "json").out)
    assert [point["step"] for point in told["points"]] == [11, 12]
    assert told["checkpoints"][0]["step_number"] == 10


def test_a_job_that_nobody_knows_is_a_usage_error(stocked):
    done = stocked("show", "ftjob-nope")
    assert done.code == 2
    assert "there is no job ftjob-nope" in done.err


@pytest.mark.parametrize("command", ["jobs", "events"])
def test_a_source_that_there_is_not_is_told_with_what_was_meant(stocked, command):
    done = stocked(command, "--source", "reserch")
    assert done.code == 2
    assert "there is no source reserch; did you mean research?" in done.err


def test_a_source_without_jobs_of_that_sort_has_none(stocked):
    done = stocked("jobs", "--source", "other", "--status", "failed")
    assert (done.code, len(done.out.splitlines())) == (0, 1)


def test_a_job_known_to_two_realms_asks_for_the_source(stocked):
    for command in ("show", "best"):
        done = stocked(command, "ftjob-twin")
        assert done.code == 2
        assert "other, research; say which with --source" in done.err
    assert stocked("show", "ftjob-twin", "--source", "other").code == 0


def test_the_best_model_is_printed_and_nothing_else(stocked):
    done = stocked("best", "ftjob-done")
    assert (done.code, done.out, done.err) == (0, "ft:done:20\n", "")


def test_no_choice_is_4_and_a_provisional_one_is_5(stocked):
    none = stocked("best", "ftjob-none")
    assert (none.code, none.out) == (4, "")
    assert "no checkpoint of ftjob-none could be chosen: the job failed" in none.err
    unheard = stocked("best", "ftjob-nope")
    assert (unheard.code, unheard.out) == (4, "")
    early = stocked("best", "ftjob-evil")
    assert (early.code, early.out) == (4, "")
    assert "no choice was made for ftjob-evil yet" in early.err
    provisional = stocked("best", "ftjob-run")
    assert (provisional.code, provisional.out) == (5, "")
    assert "provisional" in provisional.err
    assert stocked("best", "ftjob-run", "--provisional").out == "ft:run:10\n"


def test_the_newest_of_a_family_with_a_final_choice_is_found(stocked):
    assert stocked("best", "--suffix", "router").out == "ft:done:20\n"
    assert stocked("best", "--metadata", "team=a").out == "ft:done:20\n"
    other = stocked("best", "--metadata", "team=b")
    assert (other.code, other.out) == (4, "")
    assert stocked("best", "--metadata", "team").code == 2


def test_reading_needs_no_key_and_works_beside_a_running_daemon(stocked):
    async def beside() -> None:
        async with filling(stocked.directory / "state.db") as daemon:
            await daemon.source("third")
            environ = {**stocked.environ}
            del environ["KEY"]
            process = await asyncio.create_subprocess_exec(
                *stocked.command("jobs"),
                env=environ,
                cwd=stocked.directory,
                stdout=subprocess.PIPE,
            )
            out, _ = await process.communicate()
            assert process.returncode == 0
            assert b"ftjob-run" in out

    asyncio.run(beside())


def test_a_store_that_is_not_there_is_3(configured):
    done = configured("jobs")
    assert done.code == 3
    assert "there is no store at" in done.err
    assert "Traceback" not in done.err
    assert not (configured.directory / "state.db").exists()


def test_a_store_that_is_no_store_is_3(configured):
    (configured.directory / "state.db").write_bytes(b"not a database" * 100)
    done = configured("jobs")
    assert done.code == 3
    assert "Traceback" not in done.err


def test_a_broken_pipe_is_no_trouble(stocked):
    program = subprocess.Popen(
        stocked.command("jobs", "-o", "json"),
        env=stocked.environ,
        cwd=stocked.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None
    program.stdout.close()
    assert program.stderr is not None
    said = program.stderr.read()
    program.stderr.close()
    assert program.wait(timeout=30) == 0
    assert said == b""


def test_a_table_on_a_terminal_is_plain_if_asked(stocked):
    def on_a_terminal(**environ: str) -> bytes:
        leader, follower = os.openpty()
        try:
            subprocess.run(
                stocked.command("jobs"),
                env={**stocked.environ, **environ},
                cwd=stocked.directory,
                stdout=follower,
                check=True,
                timeout=30,
            )
            return os.read(leader, 65536)
        finally:
            os.close(leader)
            os.close(follower)

    assert b"\x1b[1m" in on_a_terminal(TERM="xterm")
    assert b"\x1b" not in on_a_terminal(TERM="xterm", NO_COLOR="1")


def test_a_token_is_shown_once_and_its_line_holds_no_secret(program):
    done = program("secret", "--token", "grafana", "--scopes", "read")
    token = done.out.strip()
    line = done.err.removeprefix("for daemon.api_token_file: ").strip()
    assert token not in line
    assert len(base64.urlsafe_b64decode(f"{token.removeprefix('twop_')}=")) == 32
    found = read_tokens(line).find(token)
    assert found is not None
    assert (found.name, found.scopes) == ("grafana", {"read"})
    assert program("secret", "--token", "grafana").out.strip() != token
    for wrong in (
        ("--scopes", "read"),
        ("--token", "a b"),
        ("--token", "a", "--scopes", "write"),
        ("--token", "a", "--scopes", ""),
        ("--token", "a", "--kind", "shared"),
    ):
        done = program("secret", *wrong)
        assert (done.code, done.out) == (2, "")


def test_the_settings_in_force_are_printed_without_secrets(configured):
    done = configured("config", TUNEWATCH_DAEMON__LISTEN="127.0.0.1:1234")
    assert done.code == 0, done.err
    assert KEY not in done.out + done.err
    shown = tomllib.loads(done.out)
    assert shown["daemon"]["listen"] == "127.0.0.1:1234"
    assert shown["sources"]["research"]["api_key"] == "*** (environment variable KEY)"


def test_the_example_can_be_used_as_it_is(program):
    example = program("config", "--example")
    assert example.code == 0, example.err
    (program.directory / "example.toml").write_text(example.out)
    done = program("--config", "example.toml", "config", OPENAI_API_KEY=KEY)
    assert done.code == 0, done.err
    assert "[plugins.prometheus]" in done.out


def test_mistakes_in_the_configuration_are_told_at_once_with_2(configured):
    bad = configured.directory / "bad.toml"
    bad.write_text(
        f"[daemon]\nlog_levle='x'\nlisten='{KEY}'\n"
        "[sources.a]\napi_key_file='nowhere'\n[plugins.wandbb]\n"
    )
    for arguments in (
        ("run", "--config", str(bad)),
        ("--config", str(bad), "check"),
        ("config", "--config", str(bad)),
    ):
        done = configured(*arguments)
        assert done.code == 2
        assert "did you mean log_level?" in done.err
        assert "daemon.listen: wanted an address" in done.err
        assert "sources.a.api_key_file: wanted a readable file" in done.err
        assert "plugins.wandbb: there is no plugin called 'wandbb'" in done.err
        assert KEY not in done.err + done.out
        assert "Traceback" not in done.err


def test_without_any_configuration_it_says_how_to_begin(program):
    done = program("check")
    assert done.code == 2
    assert "tunewatch config --example" in done.err


def test_plugins_are_listed_with_their_state(stocked):
    done = stocked("plugins", "-o", "json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    names = [row["name"] for row in told["data"]]
    assert names == ["best_checkpoint", "prometheus"]
    assert "webhook" in told["installed"]
    table = stocked("plugins")
    assert table.out.splitlines()[0].startswith("PLUGIN")


def test_pausing_a_plugin_that_is_not_configured_names_the_closest(stocked):
    done = stocked("plugins", "pause", "promteheus")
    assert done.code == 2
    assert "did you mean prometheus?" in done.err


async def test_pausing_and_resuming_leave_requests_for_the_daemon(stocked):
    from tunewatch.clock import SystemClock
    from tunewatch.store.opening import open_store

    url = f"sqlite:///{stocked.directory}/state.db"
    async with open_store(url, clock=SystemClock(), owner="daemon") as store:
        for kind in ("pause", "resume"):
            process = await asyncio.create_subprocess_exec(
                *stocked.command("plugins", kind, "prometheus"),
                env=stocked.environ,
                cwd=stocked.directory,
                stderr=subprocess.PIPE,
            )
            _, said = await process.communicate()
            assert process.returncode == 0, said
        taken = await store.requests.take(None, ("pause", "resume"))
    assert [(one.kind, json.loads(one.body)) for one in taken] == [
        ("pause", {"plugin": "prometheus"}),
        ("resume", {"plugin": "prometheus"}),
    ]
    told = stocked("audit", "-o", "json")
    rows = [
        (one["what"], one["about"], one["outcome"])
        for one in json.loads(told.out)["data"]
    ]
    first, second = (one.id for one in taken)
    assert rows == [
        ("resume_plugin", "prometheus", f"asked for: request {second}"),
        ("pause_plugin", "prometheus", f"asked for: request {first}"),
    ]
    user = pwd.getpwuid(os.getuid()).pw_name
    assert f"cli:{user}@" in stocked("audit", "--what", "pause_plugin").out
    assert "nothing was asked for" in stocked("audit", "--by", "nobody").err
