"""The daemon on PostgreSQL: the same work, and a database that comes and goes."""

from __future__ import annotations

import base64
import json
import signal
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import aiohttp
import pytest

from support.databases import PostgresServer, postgres_server
from support.program import Program
from support.running import QUICK, Running, configure, ended, eventually, running
from support.simulated_org import simulated
from tunewatch.testing import Receiver, SimulatedApi

KEY = "sk-postgres"
PASSWORD = "canary-database-7c1"
SECRET = "whsec_" + base64.b64encode(b"d" * 32).decode()

Scene = tuple[Program, SimulatedApi, Receiver]


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """Lend a cluster that asks for a password and that tests may stop."""
    with postgres_server() as server:
        server.run(f"CREATE ROLE watcher LOGIN PASSWORD '{PASSWORD}'")
        rules = server.directory / "data" / "pg_hba.conf"
        rules.write_text(
            "host all watcher 127.0.0.1/32 scram-sha-256\n"
            "host all tunewatch 127.0.0.1/32 trust\n"
        )
        server.run("SELECT pg_reload_conf()")
        yield server


@pytest.fixture
async def scene(tmp_path, own_postgres: PostgresServer) -> AsyncIterator[Scene]:
    program = Program(tmp_path)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    receiver = Receiver(secrets=[SECRET])
    url = own_postgres.create()
    own_postgres.run(f"ALTER DATABASE {database_in(url)} OWNER TO watcher")
    state = url.replace("tunewatch@", "watcher@")
    async with AsyncExitStack() as stack:
        api, url = await stack.enter_async_context(simulated(KEY))
        hook = await stack.enter_async_context(receiver.serve())
        configure(
            program,
            f'password_file = "{tmp_path}/password"\n'
            f'[sources.a]\nbase_url = "{url}"\napi_key = "{KEY}"\n{QUICK}'
            f'[plugins.ops]\nkind = "webhook"\nurl = "{hook}"\nsecret = "{SECRET}"\n'
            'allow_hosts = ["127.0.0.1"]\nevents = ["*"]\n',
            state=state,
        )
        yield program, api, receiver
        if own_postgres.process is None:
            own_postgres.start()


async def settled(receiver: Receiver, *jobs: str) -> list[str]:
    """Wait until jobs are told to be settled; return the ids that were accepted."""

    def are_settled(got):
        told = [one.json() for one in got]
        return set(jobs) <= {
            one["data"]["id"] for one in told if one["type"] == "tunewatch.job.settled"
        }

    return [one.id for one in await receiver.wait_until(are_settled, within=40)]


def chosen_at_last(got, *jobs: str) -> bool:
    """Whether the final choice of each job was told: the last thing that is."""
    selected = [one.json()["data"] for one in got if b"checkpoint.selected" in one.body]
    final = {one["id"] for one in selected if one["decision"] == "final"}
    return set(jobs) <= final


async def test_it_works_with_a_password_from_a_file_and_beside_the_command_line(scene):
    program, api, receiver = scene
    async with running(program) as daemon:
        job = api.add_job(project="project-0", steps=10).id
        await settled(receiver, job)
        listed = json.loads((await daemon.cli("jobs", "-o", "json")).out)["data"]
        assert [one["job"]["id"] for one in listed] == [job]
        assert (await daemon.cli("show", job)).code == 0
        plugins = json.loads((await daemon.cli("plugins", "-o", "json")).out)["data"]
        assert {one["state"] for one in plugins if one["name"] == "ops"} == {"up"}
        check = await daemon.cli("check")
        assert check.code == 0, check.out
        assert (await daemon.cli("plugins", "pause", "ops")).code == 0
        await daemon.logged("plugin.paused", plugin="ops")
        assert PASSWORD not in check.out + check.err + (await daemon.cli("config")).out
        assert await daemon.stop() == 0
    assert PASSWORD not in daemon.said.read_text()


async def test_a_database_that_goes_and_comes_back_loses_nothing(scene, own_postgres):
    program, api, receiver = scene
    async with running(program) as daemon:
        before = api.add_job(project="project-0", steps=10).id
        await settled(receiver, before)
        own_postgres.stop()
        lost = api.add_job(project="project-0", steps=10).id

        async def says_so() -> bool:
            status, report = await daemon.ready()
            return status == 503 and report["store"]["state"] == "unavailable"

        await eventually(says_so, "/readyz says that the store is away")
        # Still, when the lease is gone and nobody polls or delivers any more.
        await daemon.logged("lease.lost")
        assert await says_so()
        assert (await daemon.get("/livez"))[0] == 200
        figures = await daemon.metrics()
        assert figures["tunewatch_state_up"] == 0
        assert (losses(figures, "ended"), losses(figures, "fenced")) == (1, 0)
        assert daemon.process.returncode is None
        accepted = len(receiver.accepted)
        own_postgres.start()
        ids = await settled(receiver, before, lost)
        assert len(ids) > accepted
        # Only what was out when the database went may come twice.
        assert len(set(ids[accepted:])) == len(ids) - accepted

        async def is_ready() -> bool:
            return (await daemon.ready())[0] == 200

        await eventually(is_ready, "/readyz is content again")
        await receiver.wait_until(lambda got: chosen_at_last(got, before, lost))
        assert [len(daemon.log(f"store.{it}")) for it in ("away", "back")] == [1, 1]
        assert (await daemon.metrics())["tunewatch_state_up"] == 1
        assert not daemon.log("loop.died") + daemon.log("plugin.defect")
        assert await daemon.stop() == 0
    kept = own_postgres.run("SELECT id FROM event", database_of(program))
    assert sorted(kept) == sorted({one.id for one in receiver.accepted})


async def test_who_writes_under_a_lease_that_another_has_is_refused_and_counted(
    scene, own_postgres
):
    program, api, receiver = scene
    async with running(program) as daemon:
        before = api.add_job(project="project-0", steps=10).id
        await settled(receiver, before)
        # As another replica takes it that thinks this one dead, and then goes away.
        own_postgres.run(
            "UPDATE lease SET token = token + 1, owner = 'another',"
            " expires_at = extract(epoch FROM clock_timestamp()) + 3",
            database_of(program),
        )
        after = api.add_job(project="project-0", steps=10).id
        said = await daemon.logged("lease.lost")
        assert "was taken over" in said["reason"]
        assert losses(await daemon.metrics(), "fenced") == 1
        await settled(receiver, before, after)
        await receiver.wait_until(lambda got: chosen_at_last(got, before, after))
        assert len(daemon.log("lease.held")) == 2
        assert await daemon.stop() == 0
    kept = own_postgres.run("SELECT id FROM event", database_of(program))
    assert sorted(kept) == sorted({one.id for one in receiver.accepted})


def losses(figures: dict[str, float], how: str) -> float:
    return figures[f'tunewatch_lease_lost_total{{how="{how}",source="a"}}']


async def test_settings_that_come_while_the_database_is_down_count_when_it_is_back(
    scene, own_postgres
):
    program, api, receiver = scene
    async with running(program) as daemon:
        before = api.add_job(project="project-0", steps=10).id
        await settled(receiver, before)
        own_postgres.stop()
        await daemon.logged("store.away")
        file = program.directory / "tunewatch.toml"
        text = file.read_text().replace(
            'idle_interval = "200ms"', 'idle_interval = "1s"'
        )
        file.write_text(text + "delivery = { concurrency = 2 }\n")
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logged("config.reloaded")
        assert (await daemon.get("/livez"))[0] == 200
        own_postgres.start()
        after = api.add_job(project="project-0", steps=10).id
        await settled(receiver, before, after)
        await receiver.wait_until(lambda got: chosen_at_last(got, before, after))
        assert not daemon.log("plugin.defect")
        assert await daemon.stop() == 0
    kept = own_postgres.run("SELECT id FROM event", database_of(program))
    assert sorted(kept) == sorted({one.id for one in receiver.accepted})


async def test_a_start_waits_for_a_database_that_is_down(scene, own_postgres):
    program, api, receiver = scene
    own_postgres.stop()
    async with running(program, wait=False) as daemon:
        away = await daemon.logged("store.away")
        assert PASSWORD not in json.dumps(away)
        assert daemon.process.returncode is None
        await eventually(lambda: answers(daemon), "probes are answered meanwhile")
        status, report = await daemon.ready()
        assert (status, report["store"]["state"]) == (503, "unavailable")
        own_postgres.start()
        await daemon.logged("daemon.ready")
        job = api.add_job(project="project-0", steps=10).id
        await settled(receiver, job)
        assert len(daemon.log("store.away")) == 1
        assert await daemon.stop() == 0


async def answers(daemon: Running) -> bool:
    """Whether the liveness probe is content."""
    try:
        status, _, _ = await daemon.get("/livez")
    except aiohttp.ClientError:
        return False
    return status == 200


async def test_a_wrong_password_is_told_without_showing_it(scene):
    program, _, _ = scene
    (program.directory / "password").write_text("canary-wrong-password")
    done = await ended(program, "jobs")
    assert done.code == 3, done.err
    assert "canary" not in done.out + done.err


def database_in(url: str) -> str:
    return urlsplit(url).path[1:]


def database_of(program: Program) -> str:
    settings = tomllib.loads((program.directory / "tunewatch.toml").read_text())
    return database_in(settings["daemon"]["state"])
