"""Where keys come from, what becomes of one that is refused, and of an API away."""

from __future__ import annotations

import re

import pytest

from support.program import Program
from support.receiver_server import free_port
from support.running import QUICK, Running, configure, ended, eventually, running
from support.simulated_org import simulated
from tunewatch.testing import Fault, SimulatedApi

FIRST, SECOND, THIRD = "sk-first-key", "sk-second-key", "sk-third-key"


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
async def api():
    async with simulated(FIRST, SECOND, THIRD) as served:
        yield served


async def is_up(daemon: Running, source: str) -> bool:
    return (await daemon.part("sources", source))["state"] == "up"


async def knows(daemon: Running, job: str) -> bool:
    return job in (await daemon.cli("jobs", "-o", "json")).out


async def test_keys_by_environment_file_and_credential_open_their_projects(
    program, api
):
    made, url = api
    jobs = [made.add_job(project=f"project-{n}", outcome="paused").id for n in range(3)]
    (program.directory / "file").write_text(SECOND + "\n")
    credentials = program.directory / "credentials"
    credentials.mkdir()
    (credentials / "openai-key").write_text(THIRD)
    program.environ |= {"FIRST": FIRST, "CREDENTIALS_DIRECTORY": str(credentials)}
    configure(
        program,
        f'[source_defaults]\nbase_url = "{url}"\n{QUICK}'
        '[sources.a]\napi_key_env = "FIRST"\n'
        f'[sources.b]\napi_key_file = "{program.directory}/file"\n'
        '[sources.c]\napi_key_credential = "openai-key"\n',
    )
    async with running(program) as daemon:
        for job in jobs:
            await eventually(lambda job=job: knows(daemon, job), "every job is known")
        assert await daemon.stop() == 0


async def test_a_key_file_is_read_again_when_it_is_rotated(program, api):
    made, url = api
    file = program.directory / "key"
    file.write_text(FIRST)
    configure(
        program,
        f'[sources.a]\nbase_url = "{url}"\napi_key_file = "{file}"\n{QUICK}',
    )
    async with running(program) as daemon:
        await eventually(lambda: is_up(daemon, "a"), "the source is up")
        made.rotate_key(FIRST, "sk-rotated")
        await daemon.logged("source.trouble", source="a")
        assert (await daemon.part("sources", "a"))["state"] == "refused"
        job = made.add_job(project="project-0", outcome="paused").id
        file.write_text("sk-rotated")
        await daemon.logged("source.answers_again", source="a")
        await eventually(lambda: knows(daemon, job), "the new key sees the new job")
        assert len(daemon.log("source.trouble")) == 1
        assert len(daemon.log("source.answers_again")) == 1
        assert await daemon.stop() == 0
    assert not re.search(r"sk-(first|rotated)", daemon.said.read_text())


async def test_sources_that_are_refused_or_down_harm_no_other(program, api):
    made, url = api
    port = free_port()
    configure(
        program,
        f'[source_defaults]\nbase_url = "{url}"\n{QUICK}'
        f'[sources.fine]\napi_key = "{FIRST}"\n'
        '[sources.refused]\napi_key = "sk-unknown"\n'
        f'[sources.away]\napi_key = "k"\nbase_url = "http://127.0.0.1:{port}/v1"\n',
    )
    async with running(program) as daemon:
        await daemon.logged("source.trouble", source="refused")
        await daemon.logged("source.trouble", source="away")
        job = made.add_job(project="project-0", outcome="paused").id
        await eventually(lambda: knows(daemon, job), "the fine source goes on")
        status, report = await daemon.ready()
        assert (status, report["ready"]) == (200, True)
        states = {name: one["state"] for name, one in report["sources"].items()}
        assert states == {"fine": "up", "refused": "refused", "away": "down"}
        assert "401" in report["sources"]["refused"]["reason"]
        assert report["sources"]["away"]["since"] > 0
        series = await daemon.metrics()
        ups = {name: series[f'tunewatch_up{{source="{name}"}}'] for name in states}
        assert ups == {"fine": 1, "refused": 0, "away": 0}
        failed = 'tunewatch_polls_failed_total{reason="%s",source="%s"}'
        assert series[failed % ("refused", "refused")] >= 1
        assert series[failed % ("unavailable", "away")] >= 1
        assert series[failed % ("refused", "fine")] == 0

        # The API that was away comes: said once, as its trouble was.
        other = SimulatedApi()
        other.add_key("k")
        async with other.serve(port=port):
            await daemon.logged("source.answers_again", source="away")
        for name in ("refused", "away"):
            troubles = [
                one for one in daemon.log("source.trouble") if one["source"] == name
            ]
            assert troubles[0]["level"] == "warning"
        assert not [
            one for one in daemon.log("source.trouble") if one["source"] == "fine"
        ]
        assert await daemon.stop() == 0


async def test_check_tells_which_source_fails_and_ends_with_69(program, api):
    _, url = api
    configure(
        program,
        f'[source_defaults]\nbase_url = "{url}"\n'
        f'[sources.fine]\napi_key = "{FIRST}"\n'
        '[sources.refused]\napi_key = "sk-unknown"\n',
    )
    done = await ended(program, "check")
    assert done.code == 69
    lines = {line.split(":")[0]: line for line in done.out.splitlines()}
    assert "ok      source fine" in lines
    assert "401" in lines["failed  source refused"]
    assert "sk-unknown" not in done.out + done.err


async def test_an_outage_is_one_line_when_it_starts_and_one_when_it_ends(program, api):
    made, url = api
    configure(
        program,
        f'[sources.a]\nbase_url = "{url}"\napi_key = "{FIRST}"\n{QUICK}',
    )
    async with running(program) as daemon:
        await eventually(lambda: is_up(daemon, "a"), "the source is up")
        rule = made.fault("*", Fault.status(503), times=None)
        began = await daemon.logged("source.trouble")
        assert "503" in began["reason"]
        failed = 'tunewatch_polls_failed_total{reason="unavailable",source="a"}'

        async def failed_often() -> bool:
            return (await daemon.metrics())[failed] >= 3

        await eventually(failed_often, "it was asked again and again")
        rule.lift()
        over = await daemon.logged("source.answers_again")
        assert over["after"] > 0
        assert len(daemon.log("source.trouble")) == 1
        assert len(daemon.log("source.answers_again")) == 1
        assert await daemon.stop() == 0
