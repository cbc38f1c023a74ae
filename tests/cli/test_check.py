from __future__ import annotations

import asyncio

import pytest

from support.filled_store import filling
from support.program import Ended, Program
from tunewatch.testing import SimulatedApi
from tunewatch.testing.receiver import Receiver, Reply

KEY = "sk-canary-91d2c0"


async def check(program: Program, api_url: str, *arguments: str, **extra: str) -> Ended:
    """Run `tunewatch check` against an API that this process serves."""
    configuration = program.directory / "conf.toml"
    state = extra.get("state", f"sqlite:///{program.directory}/state.db")
    configuration.write_text(
        f"[daemon]\nstate = '{state}'\n[sources.research]\n"
        f"api_key_env = 'KEY'\nbase_url = '{api_url}'\n" + extra.get("plugins", "")
    )
    arguments = ("--config", str(configuration), "check", *arguments)
    done = await asyncio.to_thread(program, *arguments, KEY=KEY)
    assert KEY not in done.out + done.err
    return done


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


SECRET = "whsec_" + "Zm9yIHRlc3RzIG9ubHksIDMyIGJ5dGVzIG9mIGtleSE="


def hook(name: str, url: str) -> str:
    return (
        f"[plugins.{name}]\nkind = 'webhook'\nurl = '{url}'\n"
        f"secret = '{SECRET}'\nallow_hosts = ['127.0.0.1']\nevents = ['@terminal']\n"
    )


async def test_nothing_is_sent_unless_it_is_asked_for(program, api):
    _, url = api
    receiver = Receiver(secrets=[SECRET])
    async with receiver.serve() as hook_url:
        done = await check(program, url, plugins=hook("ops", hook_url))
    assert done.code == 0, done.out
    assert receiver.received == []


async def test_a_test_event_goes_to_every_receiver_and_says_what_it_is(program, api):
    _, url = api
    good, bad = Receiver(secrets=[SECRET]), Receiver(secrets=[SECRET])
    bad.plan(Reply(status=500, body=b"canary"))
    async with good.serve() as first, bad.serve() as second:
        plugins = hook("ops", first) + hook("other", second)
        done = await check(program, url, "--send-test", plugins=plugins)
    assert done.code == 69
    lines = {
        line.split(":")[0]: line
        for line in done.out.splitlines()
        if "test event" in line
    }
    assert lines.keys() == {
        "ok      test event to best_checkpoint",
        "ok      test event to prometheus",
        "ok      test event to ops",
        "failed  test event to other",
    }
    assert "nothing to send" in lines["ok      test event to prometheus"]
    assert "took evt_" in lines["ok      test event to ops"]
    assert "500" in lines["failed  test event to other"]
    (sent,) = good.received
    assert (sent.accepted, sent.problem) == (True, None)
    event = sent.json()
    assert event["type"] == "tunewatch.test"
    assert "This is a test" in event["data"]["message"]
    assert event["data"]["status"] is None
    assert SECRET not in done.out + done.err
    assert not (program.directory / "state.db").exists()


async def test_a_receiver_that_is_away_is_69(program, api):
    _, url = api
    plugins = hook("ops", "http://127.0.0.1:1/hook")
    done = await check(program, url, "--send-test", plugins=plugins)
    assert done.code == 69
    assert "failed  test event to ops" in done.out
    assert "Traceback" not in done.err


async def test_what_nobody_names_any_more_is_told_with_what_to_do(program, api):
    _, url = api
    async with filling(program.directory / "state.db") as to:
        await to.job("ftjob-1", source="reserch")
        await to.job("ftjob-2", source="reserch", status="succeeded")
        await to.mark("ops", source="reserch")
        await to.mark("prometheus", source="reserch")
    done = await check(program, url)
    assert done.code == 0, done.out
    source, plugin = (one for one in done.out.splitlines() if one.startswith("note"))
    assert source.startswith(
        "note    source reserch: not configured, but the store has"
    )
    assert "2 jobs of it" in source
    assert 'renamed_from = "reserch"' in source
    assert plugin.startswith("note    plugin ops: not configured, but the store knows")
    assert "for 7d without loss" in plugin


async def test_what_is_probably_a_slip_is_noted(program, api):
    _, url = api
    more = "[plugins.prometheus]\nsources = ['reserch']\n"
    done = await check(program, url, plugins=more)
    assert done.code == 0
    assert (
        "note    plugins.prometheus.sources[0]: no source is or matches 'reserch'; did "
        "you mean research?"
    ) in done.out
