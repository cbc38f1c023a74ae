"""`tunewatch backup`: beside a daemon, where there is room, of nothing but stores."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import pytest

from support.daemon_process import daemon_process
from support.filled_store import make_large_store
from support.moving_jobs import moving_jobs
from support.program import Program
from support.recording_receiver import recording
from support.small_disk import small_disk
from support.watching import until
from tunewatch.store.backup import back_up

JOBS = 300


def events(path):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT id, body FROM event").fetchall()


def configure(program, state):
    (program.directory / "tunewatch.toml").write_text(
        f"[daemon]\nstate = '{state}'\n[sources.research]\napi_key_env = 'KEY'\n"
    )
    program.environ["TUNEWATCH_CONFIG"] = str(program.directory / "tunewatch.toml")


async def test_the_store_of_a_daemon_at_work_is_copied_and_restored(tmp_path, chance):
    path, copy = tmp_path / "state.db", tmp_path / "tonight.db"
    async with (
        recording(chance) as receiver,
        moving_jobs(chance, at_once=8) as moving,
        daemon_process(
            tmp_path / "daemon",
            state=f"sqlite:///{path}",
            api_url=moving.url,
            hooks={"ops": receiver.url("ops")},
        ) as daemon,
    ):
        await daemon.start()
        await until(lambda: receiver.acknowledged_of("ops") > 20, what="it is at work")
        # As a person on that machine: no key is needed.
        config = str(daemon.program.directory / "tunewatch.toml")
        done = await asyncio.to_thread(
            daemon.program, "backup", "--config", config, str(copy)
        )
        assert (done.code, done.err) == (0, "")
        kept = events(copy)
        assert done.out.startswith(f"{copy}: {len(kept)} events of ")
        assert done.out.endswith(" MiB\n")
        before = receiver.acknowledged_of("ops")
        await until(
            lambda: receiver.acknowledged_of("ops") > before + 10, what="it goes on"
        )
        assert (await daemon.stop())[0] == 0

        # As its help says.
        for suffix in ("", "-wal", "-shm"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(beside.with_name(f"aside{suffix}"))
        path.write_bytes(copy.read_bytes())
        await daemon.start()
        before = receiver.acknowledged_of("ops")
        await until(
            lambda: receiver.acknowledged_of("ops") > before + 10, what="it goes on"
        )
        assert (await daemon.stop())[0] == 0
    assert set(kept) < set(events(path))


def test_another_state_file_can_be_named(tmp_path):
    make_large_store(tmp_path / "theirs.db", JOBS)
    program = Program(tmp_path)
    theirs, copy = str(tmp_path / "theirs.db"), tmp_path / "copy.db"
    done = program("backup", "--state", theirs, str(copy))
    assert done.code == 0, done.err
    assert len(events(copy)) >= JOBS


def test_a_copy_that_is_there_is_not_overwritten(tmp_path):
    make_large_store(tmp_path / "state.db", 1)
    program = Program(tmp_path)
    configure(program, f"sqlite:///{tmp_path}/state.db")
    copy = str(tmp_path / "copy.db")
    assert program("backup", copy).code == 0
    again = program("backup", copy)
    assert (again.code, again.out) == (2, "")
    assert f"{copy} is there already" in again.err


def test_of_postgresql_it_says_what_to_take_instead(tmp_path):
    program = Program(tmp_path)
    configure(program, "postgresql://watcher@db.example.com/tunewatch")
    done = program("backup", str(tmp_path / "copy.db"))
    assert (done.code, done.out) == (2, "")
    assert "pg_dump --format=custom" in done.err
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("size", ["none", "some"])
def test_nothing_is_left_where_there_is_no_room(tmp_path, size):
    make_large_store(tmp_path / "state.db", JOBS)
    whole = tmp_path / "whole.db"
    back_up(tmp_path / "state.db", whole)
    with small_disk(mebibytes=1) as disk:
        there = disk.seen_from_here()
        if size == "none":
            disk.fill()
        else:
            free = 2**20 - whole.stat().st_size // 2
            (there / "ballast").write_bytes(bytes(free))
        before = sorted(there.iterdir())
        program = Program(tmp_path, is_cold=True, entry=tuple(disk.entry))
        state = str(tmp_path / "state.db")
        done = program("backup", "--state", state, str(disk.under / "tonight.db"))
        assert (done.code, done.out) == (2, "")
        assert f"no room in {disk.under}" in done.err
        assert sorted(there.iterdir()) == before
