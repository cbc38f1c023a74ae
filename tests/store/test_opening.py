"""Opening: made once, upgraded in place, held by one; what is damaged is refused."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from support.databases import PostgresServer
from support.stores import HandClock, open_desk, raw_job
from tunewatch.store.address import sqlite_path
from tunewatch.store.migrations import HEAD, REVISIONS
from tunewatch.store.opening import open_store
from tunewatch.store.reading import open_reader
from tunewatch.store.records import StoreInUse, StoreUnavailable, StoreUnusable
from tunewatch.store.schema import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Lend the address of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'deep' / 'state.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create()
    yield url
    server.drop(url)


async def test_the_steps_make_exactly_the_tables_of_the_schema(empty_url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = [d for d in compare_metadata(context, metadata) if not _is_ours(d)]
        made = inspect(connection).get_table_names()
        return [*found, *({*made} - {*metadata.tables} - {"alembic_version"})]

    async with open_store(empty_url, clock=HandClock(), owner="one") as store:
        assert await store.carrier.read(differences) == []


def _is_ours(difference: object) -> bool:
    """Alembic's own table is not in the schema."""
    return "alembic_version" in repr(difference)


async def test_partial_and_ordered_indexes_are_made_as_described(empty_url):
    def indexes(connection: Connection) -> dict[str, object]:
        return {
            index["name"]: index["column_names"]
            for table in metadata.tables
            for index in inspect(connection).get_indexes(table)
            if not index.get("duplicates_constraint")
        }

    described = {
        index.name: [column.name for column in index.columns]
        for table in metadata.tables.values()
        for index in table.indexes
    }
    async with open_store(empty_url, clock=HandClock(), owner="one") as store:
        assert await store.carrier.read(indexes) == described


def test_every_step_is_known_by_name():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "tunewatch.store:migrations")
    config.set_main_option("path_separator", "os")
    steps = ScriptDirectory.from_config(config).walk_revisions()
    assert tuple(reversed([step.revision for step in steps])) == REVISIONS


async def test_alembic_is_not_imported_when_there_is_nothing_to_do(store_url):
    async with open_store(store_url, clock=HandClock(), owner="one"):
        pass
    program = (
        "import asyncio, sys\n"
        "from support.stores import make_tables\n"
        f"asyncio.run(make_tables({store_url!r}))\n"
        "assert 'alembic' not in sys.modules\n"
        "assert 'openai' not in sys.modules\n"
    )
    await run_python(program)


async def test_who_reads_a_file_loads_nothing_of_postgresql(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with open_store(url, clock=HandClock(), owner="one"):
        pass
    program = (
        "import asyncio, sys\n"
        "from tunewatch.store.reading import open_reader\n"
        "async def read():\n"
        f"    async with open_reader({url!r}) as reader:\n"
        "        await reader.jobs()\n"
        "asyncio.run(read())\n"
        "assert 'sqlalchemy.dialects.postgresql' not in sys.modules\n"
    )
    await run_python(program)


async def run_python(program: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert await process.wait() == 0


async def test_two_replicas_that_start_at_once_make_the_tables_once(postgres):
    url = postgres.create()

    async def start(owner: str) -> None:
        async with open_store(url, clock=HandClock(), owner=owner) as store:
            row = await store.sources.contact("research", "openai", "realm")
            assert row.id == 1

    async with asyncio.TaskGroup() as tasks:
        for number in range(2):
            tasks.create_task(start(f"r{number}"), name=f"replica:{number}")
    postgres.drop(url)


async def test_what_was_stored_is_there_after_a_restart(store_url):
    async with open_desk(store_url) as desk:
        await desk.saw("a", raw=raw_job("a"))
        first = desk.held
    async with open_desk(store_url, owner="two") as desk:
        assert desk.held.token > first.token
        page = await desk.store.reads.jobs()
        assert [row.job.id for row in page.rows] == ["a"]


async def test_a_newer_store_is_refused_with_what_to_do(store_url):
    async with open_store(store_url, clock=HandClock(), owner="one") as store:
        await store.carrier.write(
            lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        )
    with pytest.raises(StoreUnusable, match=r"later version.*9999.*restore a backup"):
        async with open_store(store_url, clock=HandClock(), owner="one"):
            pass
    with pytest.raises(StoreUnusable, match="later version"):
        async with open_reader(store_url):
            pass


async def test_somebody_elses_tables_are_refused(empty_url, postgres):
    if empty_url.startswith("sqlite"):
        path = sqlite_path(empty_url)
        path.parent.mkdir()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE job (x)")
        connection.close()
    else:
        postgres.run("CREATE TABLE job (x int)", empty_url.rpartition("/")[2])
    with pytest.raises(StoreUnusable, match="tunewatch did not make"):
        async with open_store(empty_url, clock=HandClock(), owner="one"):
            pass


async def test_the_file_and_its_directory_are_for_us_alone(tmp_path):
    path = tmp_path / "state" / "tunewatch" / "state.db"
    async with open_desk(f"sqlite:///{path}") as desk:
        await desk.saw("a", raw=raw_job("a"))
        assert path.parent.stat().st_mode & 0o777 == 0o700
        for file in path.parent.iterdir():
            assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///", "state.db"])
def test_an_address_that_is_neither_is_refused(url):
    with pytest.raises(StoreUnusable, match=r"daemon\.state"):
        sqlite_path(url)


async def test_a_reader_makes_nothing(tmp_path):
    path = tmp_path / "state.db"
    with pytest.raises(StoreUnusable, match="there is no store"):
        async with open_reader(f"sqlite:///{path}"):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_a_reader_reads_beside_a_writing_daemon(store_url):
    async with open_desk(store_url) as desk, open_reader(store_url) as reader:
        assert (await reader.jobs()).rows == []
        await desk.saw("a", raw=raw_job("a"))
        assert [row.job.id for row in (await reader.jobs()).rows] == ["a"]


async def test_a_database_that_is_away_is_unavailable_not_unusable(postgres):
    address = "postgresql://tunewatch@127.0.0.1:1/none"
    with pytest.raises(StoreUnavailable, match="cannot reach PostgreSQL at 127"):
        async with open_store(address, clock=HandClock(), owner="one"):
            pass


async def test_a_password_in_an_address_is_never_told(postgres):
    address = "postgresql://tunewatch:hunter2@127.0.0.1:1/none?password=hunter2"
    with pytest.raises(StoreUnavailable) as caught:
        async with open_store(address, clock=HandClock(), owner="one"):
            pass
    assert "hunter2" not in str(caught.value)


HOLD = """
import asyncio, sys
from support.stores import HandClock
from tunewatch.store.opening import open_store

async def main():
    async with open_store(sys.argv[1], clock=HandClock(), owner="first"):
        print("open", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Lend a process that holds a store's file."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield url, process
        process.kill()


async def test_a_second_daemon_on_a_file_stops_within_a_second(holder):
    url, process = holder
    before = time.monotonic()
    with pytest.raises(StoreInUse, match=rf"in use by process {process.pid}"):
        async with open_store(url, clock=HandClock(), owner="second"):
            pass
    assert time.monotonic() - before < 1


async def test_a_file_is_free_as_soon_as_its_holder_was_killed(holder):
    url, process = holder
    process.send_signal(signal.SIGKILL)
    process.wait()
    async with open_desk(url) as desk:
        assert desk.held.token == 1


async def filled(path: Path) -> None:
    async with open_desk(f"sqlite:///{path}") as desk:
        await desk.commit(
            *(desk.look(f"j{n}", raw=raw_job(f"j{n}")) for n in range(300))
        )


def no_database(path: Path) -> None:
    path.write_bytes(b"these are not the bytes you are looking for" * 100)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_inside_the_first_page(path: Path) -> None:
    os.truncate(path, 50)


def emptied_beside_its_log(path: Path) -> None:
    os.truncate(path, 0)
    Path(f"{path}-wal").write_bytes(b"x" * 4096)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 8))


@pytest.mark.parametrize(
    "damage",
    [
        no_database,
        cut_in_half,
        cut_inside_the_first_page,
        emptied_beside_its_log,
        overwritten,
    ],
)
async def test_a_damaged_file_is_refused_with_what_to_do_and_left_alone(
    tmp_path, damage
):
    path = tmp_path / "state.db"
    await filled(path)
    damage(path)
    found = path.read_bytes()
    with pytest.raises(StoreUnusable, match=r"damaged.*backup"):
        async with open_store(f"sqlite:///{path}", clock=HandClock(), owner="one"):
            pass
    assert path.read_bytes() == found


async def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "state.db").mkdir()
    with pytest.raises(StoreUnusable, match=r"cannot open .*state\.db"):
        async with open_store(
            f"sqlite:///{tmp_path / 'state.db'}", clock=HandClock(), owner="one"
        ):
            pass


def test_today_is_the_last_step():
    assert REVISIONS[-1] == HEAD
