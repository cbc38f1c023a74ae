"""What a store survives: kill -9, a full disk, a database that goes and comes back."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from support.databases import PostgresServer, postgres_server
from support.stores import Desk, message, open_desk, raw_job, told
from support.watching import until
from support.wire import wire
from tunewatch.store.carrier import Carrier
from tunewatch.store.postgres import CONNECTIONS, postgres_carrier
from tunewatch.store.reading import open_reader
from tunewatch.store.records import Committed, StoreUnavailable
from tunewatch.store.statements import fetch

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
WRITER = [sys.executable, "-m", "support.store_writer"]


def kill_after(url: str, source: str, seconds: float) -> list[str]:
    """Let a process commit, kill it, return what was acknowledged to it."""
    with subprocess.Popen(
        [*WRITER, url, source], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
    lines = (first + rest).split("\n")
    return lines[:-1]  # what follows the last line break was cut off


async def test_kill_9_loses_nothing_that_was_acknowledged(store_url):
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    acknowledged = {
        f"s{n}": kill_after(store_url, f"s{n}", chance.uniform(0.05, 0.4))
        for n in range(4)
    }
    async with open_desk(store_url, source="after") as desk:
        for source, said in acknowledged.items():
            assert said, "the process was killed before it wrote anything"
            events = await desk.store.reads.events(source=source, limit=100_000)
            kept = [e.payload.event_id for e in told(events) if "message" in e.type]
            # One more may be there: committed, and killed before it could say so.
            assert kept[: len(said)] == said
            assert len(kept) <= len(said) + 1
        everything = await desk.store.reads.events(limit=100_000)
        assert len({event.id for event in everything}) == len(everything)
        positions = [event.position for event in everything]
        assert positions == list(range(1, len(positions) + 1))


def test_a_full_disk_pauses_and_all_goes_on_when_there_is_room(tmp_path: Path):
    # A mount of its own in a namespace of its own: it ends with the process.
    script = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    rights = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    command = ["unshare", *rights, "sh", "-c", script, str(tmp_path), *WRITER]
    done = subprocess.run(
        [*command, "--starve", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("went on\n", 0), done.stderr


def by_driver(connection: Connection) -> None:
    fetch(connection, "SELECT 1", [])


def by_sqlalchemy(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))


@pytest.fixture
def own_postgres():
    """Lend a PostgreSQL that this test may crash."""
    with postgres_server() as server:
        yield server


async def test_a_database_that_crashes_costs_nothing(own_postgres: PostgresServer):
    url = own_postgres.create()
    async with open_desk(url) as desk:
        await desk.saw("a", raw=raw_job("a"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(commit_stubbornly(desk, 300), name="commit")
            for _ in range(3):
                await asyncio.sleep(0.2)
                own_postgres.stop(signal.SIGQUIT)
                await asyncio.to_thread(own_postgres.start)
        events = await desk.store.reads.events(limit=10_000)
        said = [e.payload.event_id for e in told(events) if "message" in e.type]
        assert said == [f"ev-{n}" for n in range(300)]
        # Commits whose answer was lost were told too, with the next one.
        assert {ref.id for ref in desk.heard} == {event.id for event in events}
        heard = [ref.position for ref in desk.heard]
        assert heard == sorted(heard)


@pytest.mark.parametrize("asks", [by_driver, by_sqlalchemy])
async def test_a_database_that_falls_silent_leaves_nothing_behind(
    postgres: PostgresServer, server_url: str, asks
):
    left: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: left.append(context["message"]))
    async with wire(postgres.port) as laid:
        url = server_url.replace(f":{postgres.port}/", f":{laid.port}/")

        def falls_silent(connection: Connection) -> None:
            asks(connection)
            laid.cut()
            asks(connection)

        async with postgres_carrier(url) as carrier:
            async with asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(given_up(carrier, falls_silent), name="ask")
                await until(lambda: asking.done() or farewells(), within=30)
                # Whoever asked has better to do than to wait for a farewell.
                asking.cancel()
            await until(lambda: not farewells(), what="all is let go")
            gc.collect()
            laid.mend()
            assert await carrier.write(written) == str(postgres.port)
    assert left == []


async def given_up(carrier: Carrier, question: Callable[[Connection], None]) -> None:
    with pytest.raises(StoreUnavailable):
        await carrier.read(question)


def farewells() -> list[asyncio.Task[object]]:
    """Return what closes connections in the background."""
    return [one for one in asyncio.all_tasks() if "terminate" in repr(one.get_coro())]


async def test_a_primary_that_became_a_standby_is_left_for_the_one_there_is(
    own_postgres: PostgresServer,
):
    with postgres_server() as other:
        servers = (own_postgres, other)
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in servers)
        url = f"postgresql://tunewatch@{hosts}/postgres?target_session_attrs=read-write"
        async with postgres_carrier(url) as carrier:
            # Several, all of which stay and can be read.
            found = [carrier.read(port) for _ in range(CONNECTIONS)]
            assert set(await in_parallel(found)) == {str(own_postgres.port)}
            own_postgres.run("ALTER SYSTEM SET default_transaction_read_only = on")
            own_postgres.run("SELECT pg_reload_conf()")
            await until(lambda: refused(carrier), what="it takes no writes")
            found = [carrier.read(port) for _ in range(CONNECTIONS)]
            assert set(await in_parallel(found)) == {str(other.port)}
            assert await carrier.write(written) == str(other.port)


async def in_parallel(calls):
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(one, name="call") for one in calls]
    return [one.result() for one in made]


def port(connection: Connection) -> object:
    connection.execute(text("SELECT pg_sleep(0.1)"))
    return connection.scalar(text("SHOW port"))


def written(connection: Connection) -> object:
    connection.execute(text("CREATE TABLE IF NOT EXISTS note (text text)"))
    return port(connection)


async def refused(carrier: Carrier) -> bool:
    try:
        await carrier.write(written)
    except StoreUnavailable as fault:
        return "is read-only (SQLSTATE 25006)" in fault.reason
    return False


async def commit_stubbornly(desk: Desk, count: int) -> None:
    """Commit messages one by one, each again until it is acknowledged."""
    for number in range(count):
        look = desk.look("a", entries=(message(number),))
        while True:
            try:
                [outcome] = await desk.commit(look)
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                assert isinstance(outcome, Committed)
                break


async def test_a_database_that_is_gone_is_said_so_and_found_again(
    own_postgres: PostgresServer,
):
    url = own_postgres.create()
    async with open_desk(url) as desk:
        own_postgres.stop()
        with pytest.raises(StoreUnavailable, match=r"cannot reach|lost the connection"):
            await desk.saw("a", raw=raw_job("a"))
        with pytest.raises(StoreUnavailable):
            await desk.store.reads.jobs()
        with pytest.raises(StoreUnavailable):
            async with open_reader(url):
                pass
        own_postgres.start()
        seen = await desk.saw("a", raw=raw_job("a"))
        assert len(seen.events) == 2


async def test_a_copy_made_by_sqlite_itself_while_running_can_be_restored(
    tmp_path: Path,
):
    import sqlite3

    path, copy = tmp_path / "state.db", tmp_path / "copy.db"
    async with open_desk(f"sqlite:///{path}") as desk:
        await desk.saw("a", raw=raw_job("a"))
        source, target = sqlite3.connect(path), sqlite3.connect(copy)
        source.backup(target)
        target.close()
        source.close()
        await desk.saw("b", raw=raw_job("b"))
    async with open_desk(f"sqlite:///{copy}") as desk:
        page = await desk.store.reads.jobs()
        assert [row.job.id for row in page.rows] == ["a"]
