"""SIGHUP: a good configuration is gone on with in place, a bad one is refused."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import tomllib
from contextlib import asynccontextmanager, closing

import pytest

from support.program import Program
from support.receiver_server import receiver
from support.running import QUICK, Running, configure, ended, eventually, running
from support.simulated_org import simulated

FIRST, SECOND = "sk-first-key", "sk-second-key"
SECRET = "whsec_" + "Zm9yIHRlc3RzIG9ubHksIDMyIGJ5dGVzIG9mIGtleSE="
MANY = 100
SOON = 4.0
"""s: a fifth of it on a quiet machine, see `make bench`."""


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
async def api():
    async with simulated(FIRST, SECOND) as served:
        yield served


async def reload(daemon: Running, outcome: str = "config.reloaded"):
    """Send SIGHUP and return the log line of what came of it."""
    before = len(daemon.log(outcome))
    daemon.process.send_signal(signal.SIGHUP)
    await eventually(lambda: len(daemon.log(outcome)) > before, outcome)
    return daemon.log(outcome)[-1]


def source(name: str, url: str, key: str, more: str = "") -> str:
    return f'[sources.{name}]\nbase_url = "{url}"\napi_key = "{key}"\n{QUICK}{more}\n'


def hook(name: str, url: str, more: str = "") -> str:
    return (
        f'[plugins.{name}]\nkind = "webhook"\nurl = "{url}"\nevents = ["*"]\n'
        f'secret = "{SECRET}"\nallow_hosts = ["127.0.0.1"]\n{more}\n'
    )


@asynccontextmanager
async def reloading(program, text):
    configure(program, text)
    async with running(program) as daemon:
        yield daemon
        assert await daemon.stop() == 0
    assert not daemon.log("loop.died")


def told(posts, job):
    bodies = [json.loads(post.body) for post in posts]
    return [body["type"] for body in bodies if body["data"]["id"] == job]


async def test_sources_and_plugins_come_and_go_while_the_rest_goes_on(program, api):
    made, url = api
    first = made.add_job(project="project-0", outcome="paused").id
    async with receiver() as one, receiver() as other:
        start = source("a", url, FIRST, 'backfill = "all"') + hook("one", one.url())
        async with reloading(program, start) as daemon:
            await eventually(
                lambda: "fine_tuning.job.paused" in told(one.posts, first),
                "all is told",
            )
            began = (await daemon.metrics())["process_start_time_seconds"]
            posts = len(one.posts)
            configure(
                program,
                start
                + source("b", url, SECOND, 'backfill = "all"')
                + hook("other", other.url()),
            )
            line = await reload(daemon)
            assert line["seconds"] < SOON
            second = made.add_job(project="project-1", outcome="paused").id
            for got in (one, other):
                await eventually(
                    lambda got=got: told(got.posts, second), "a new source is told"
                )
            assert not told(other.posts, first), "a new plugin starts at the newest"
            assert len(daemon.log("lease.held")) == 2, "what was there was not touched"

            configure(program, source("b", url, SECOND) + hook("other", other.url()))
            await reload(daemon)
            _, report = await daemon.ready()
            assert report["sources"]["a"]["state"] == "orphaned"
            assert set(report["plugins"]) == {"best_checkpoint", "other", "prometheus"}
            third = made.add_job(project="project-1", outcome="paused").id
            await eventually(lambda: told(other.posts, third), "the third job is told")
            assert not told(one.posts, third), "who left is told nothing more"
            assert 'plugin="one"' not in "".join(
                line
                for line in await daemon.metrics()
                if line.startswith("tunewatch_plugin_state")
            )
            same = (await daemon.metrics())["process_start_time_seconds"]
            assert same == began, "it is the same process"
            # Each of its events came once, over two reloads.
            assert posts <= len(one.posts)
            ids = [post.headers["webhook-id"] for post in one.posts]
            assert len(ids) == len(set(ids))


async def test_a_receiver_moves_and_gets_the_rest_in_order(program, api):
    made, url = api
    async with receiver() as before, receiver() as after:
        watched = source("a", url, FIRST, 'backfill = "all"')
        async with reloading(program, watched + hook("ops", before.url())) as daemon:
            job = made.add_job(project="project-0", steps=30).id
            await eventually(lambda: told(before.posts, job), "it has begun")
            configure(program, watched + hook("ops", after.url()))
            await reload(daemon)
            await eventually(
                lambda: "tunewatch.job.settled" in told(after.posts, job), "it settled"
            )
    bodies = [json.loads(post.body) for post in (*before.posts, *after.posts)]
    numbers = [body["data"]["sequence"] for body in bodies if body["data"]["id"] == job]
    assert numbers == sorted(set(numbers)), "nothing twice, nothing out of order"


async def test_a_bad_configuration_is_refused_and_the_old_one_stays(program, api):
    made, url = api
    good = source("a", url, FIRST, 'backfill = "all"')
    async with (
        receiver() as got,
        reloading(program, good + hook("ops", got.url())) as daemon,
    ):
        before = await daemon.metrics()
        assert before["tunewatch_config_last_reload_successful"] == 1
        configure(program, good + hook("ops", got.url(), 'urll = "x"'))
        checked = await ended(program, "check")
        line = await reload(daemon, "config.refused")
        assert checked.code == 2
        assert line["reason"] in checked.err, "the same words as `tunewatch check`"
        assert "did you mean url?" in line["reason"]
        after = await daemon.metrics()
        assert after["tunewatch_config_last_reload_successful"] == 0
        for same in ("hash", "last_reload_success_timestamp_seconds"):
            name = f"tunewatch_config_{same}"
            assert after[name] == before[name]
        job = made.add_job(project="project-0", outcome="paused").id
        await eventually(lambda: told(got.posts, job), "the old one goes on")

        configure(program, good + hook("ops", got.url(), "delivery = { rate = 50 }"))
        await reload(daemon)
        healed = await daemon.metrics()
        assert healed["tunewatch_config_last_reload_successful"] == 1
        assert healed["tunewatch_config_hash"] != before["tunewatch_config_hash"]


BROKEN = (
    ("[sources.a]", "[sources.a"),
    ("[sources.a]", "[source.a]"),
    ("[sources.a]", '[sources."a b"]'),
    ("[sources.a]", "[sources]\na = 1\n[sources.b]"),
    ("api_key =", "api_kye ="),
    ("api_key =", "api_key_file ="),
    ("api_key =", "api_key_env ="),
    ("api_key =", "api_key_credential ="),
    ("base_url =", 'kind = "opneai"\nbase_url ='),
    ("base_url =", "kind = 7\nbase_url ="),
    ('base_url = "http', 'base_url = "ftp'),
    ('poll_interval = "200ms"', "poll_interval = 200"),
    ('poll_interval = "200ms"', 'poll_interval = "-1s"'),
    ('poll_interval = "200ms"', 'poll_interval = "15 parsecs"'),
    ("requests_per_minute = 60000", "requests_per_minute = 0"),
    ("requests_per_minute = 60000", 'requests_per_minute = "many"'),
    ('kind = "webhook"', 'kind = "webhok"'),
    ('kind = "webhook"', ""),
    ('events = ["*"]', 'events = ["@finished"]'),
    ('events = ["*"]', 'events = "everything"'),
    ("secret = ", "secrets = "),
    ('secret = "whsec_', 'secret = "'),
    ("allow_hosts = ", "allow_host = "),
    ('allow_hosts = ["127.0.0.1"]', "allow_hosts = 1"),
    ("log_level = ", "log_levle = "),
    ('shutdown_grace = "2s"', "shutdown_grace = true"),
)


def cuts(text: str, count: int) -> list[str]:
    """Return beginnings of a file that are no TOML: as an editor may leave it."""
    broken = []
    for end in range(1, len(text)):
        try:
            tomllib.loads(text[:end])
        except tomllib.TOMLDecodeError:
            broken.append(text[:end])
    return broken[:: len(broken) // count][:count]


async def test_fifty_broken_files_are_refused_one_after_the_other(program, api):
    made, url = api
    async with receiver() as got:
        good = source("a", url, FIRST, 'backfill = "all"') + hook("ops", got.url())
        path = configure(program, good)
        text = path.read_text()
        files = [text.replace(old, new, 1) for old, new in BROKEN]
        assert text not in files
        files += cuts(text, 50 - len(files))
        async with running(program) as daemon:
            hash_before = (await daemon.metrics())["tunewatch_config_hash"]
            for file in files:
                path.write_text(file)
                line = await reload(daemon, "config.refused")
                assert "a defect" not in line["reason"], line
            assert not daemon.log("config.reloaded")
            found = await daemon.metrics()
            assert found["tunewatch_config_last_reload_successful"] == 0
            assert found["tunewatch_config_hash"] == hash_before
            job = made.add_job(project="project-0", outcome="paused").id
            await eventually(lambda: told(got.posts, job), "the old one goes on")
            path.write_text(text)
            await reload(daemon)
            assert await daemon.stop() == 0
    said = daemon.said.read_text()
    assert FIRST not in said
    assert SECRET.removeprefix("whsec_") not in said


async def test_what_is_fixed_at_the_start_is_refused_with_its_reason(program, api):
    _, url = api
    good = source("a", url, FIRST)
    async with reloading(program, good) as daemon:
        elsewhere = f"sqlite:///{program.directory / 'other.db'}"
        configure(program, good, state=elsewhere)
        line = await reload(daemon, "config.refused")
        assert "daemon.state" in line["reason"]
        assert "Restart to change it" in line["reason"]
        configure(program, good + 'renamed_from = "old"\n')
        line = await reload(daemon, "config.refused")
        assert "renamed_from" in line["reason"]
        configure(program, "[sources.a\n")
        line = await reload(daemon, "config.refused")
        assert "wanted TOML" in line["reason"]
        configure(program, good)
        await reload(daemon)
        assert not (program.directory / "other.db").exists()


async def test_secrets_and_files_beside_are_read_again(program, api):
    made, url = api
    made.add_key("sk-third-key", project="project-0")
    directory = program.directory / "conf.d"
    directory.mkdir()
    async with reloading(program, source("a", url, FIRST)) as daemon:
        made.revoke_key(FIRST)
        await daemon.logged("source.trouble", source="a")
        configure(program, source("a", url, "sk-third-key"))
        (directory / "b.toml").write_text(source("b", url, SECOND))
        await reload(daemon)
        for name in ("a", "b"):

            async def is_up(name=name):
                return (await daemon.part("sources", name))["state"] == "up"

            await eventually(is_up, f"{name} is up")
    assert not re.search(r"sk-(first|second|third)-key", daemon.said.read_text())


async def test_a_hundred_sources_are_built_anew_at_work_and_nothing_is_lost(
    program, api
):
    made, url = api
    job = made.add_job(project="project-0", outcome="paused").id
    name = "s{:03}".format

    def many(interval):
        keys = f'base_url = "{url}"\napi_key = "{FIRST}"\n'
        keys += f'poll_interval = "{interval}"\nbackfill = "all"\n'
        keys += 'settle_window = "1s"\nrequests_per_minute = 60000\n'
        tables = "".join(f"[sources.{name(n)}]\n" for n in range(MANY))
        return f"[source_defaults]\n{keys}{tables}"

    async with receiver() as got:
        ops = hook("ops", got.url())
        async with reloading(program, many("2s") + ops) as daemon:
            await eventually(lambda: told(got.posts, job), "the job is told")

            async def all_held():
                found = await daemon.metrics()
                held = [v for k, v in found.items() if "tunewatch_lease_held{" in k]
                return sum(held) == MANY

            await eventually(all_held, "every source is held")
            jobs = [made.add_job(project="project-0").id for _ in range(6)]
            # What changes for one plugin is no news for a hundred sources.
            configure(program, many("2s") + hook("ops", got.url(), "sources=['*0*']"))
            line = await reload(daemon)
            assert line["seconds"] < SOON
            terms = len(daemon.log("lease.held"))
            configure(program, many("1s") + ops)
            line = await reload(daemon)
            assert line["seconds"] < SOON
            await eventually(all_held, "every source is held again")
            assert len(daemon.log("lease.held")) == terms + MANY
            new = made.add_job(project="project-0", outcome="paused").id
            await eventually(lambda: told(got.posts, new), "a new job is told")
            for one in jobs:
                await eventually(
                    lambda one=one: "tunewatch.job.settled" in told(got.posts, one),
                    "it is told to its end",
                )

            def posted():
                return [post.headers["webhook-id"] for post in got.posts]

            def committed():
                with closing(sqlite3.connect(program.directory / "state.db")) as store:
                    return {row[0] for row in store.execute("SELECT id FROM event")}

            # The last choice follows a settling, and may be on its way.
            await eventually(
                lambda: committed() == set(posted()), "nothing lost, nothing invented"
            )
            assert len(posted()) == len(set(posted())), "and nothing twice"
