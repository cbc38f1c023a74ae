"""Backups that are made under load: each is whole, as of the moment it was begun."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

from support.judge import Judge, books_of
from support.track_record import rounds
from support.winding_up import wind_up
from tunewatch.store.backup import back_up

NEWEST = "SELECT coalesce(max(position), 0) FROM event"


def copy_of_file(url, directory, _server):
    """Copy an SQLite store as `tunewatch backup` does; return the copy's address."""
    path = Path(url.removeprefix("sqlite:///"))
    copy = directory / "backup.db"
    copy.unlink(missing_ok=True)
    back_up(path, copy)
    return f"sqlite:///{copy}"


def copy_of_database(url, directory, server):
    """Dump a database and restore it beside; return the copy's address."""
    dump = directory / "backup.dump"
    copy = server.create()
    tools = server.binaries
    for command in (
        [str(tools / "pg_dump"), "-Fc", "-f", str(dump), url],
        [str(tools / "pg_restore"), "-d", copy, str(dump)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return copy


async def backs_up(times, staged, postgres, tmp_path, track_record):
    began, took = time.monotonic(), []
    async with staged(sinks=3, at_once=4) as scene:
        copied = copy_of_file if scene.engine == "sqlite" else copy_of_database
        live = scene.judge.books
        await scene.start()
        for _ in range(times):
            await scene.at_work()
            [[newest]] = live.rows(NEWEST)
            at = time.monotonic()
            copy = await asyncio.to_thread(copied, scene.url, tmp_path, postgres)
            took.append(time.monotonic() - at)
            judge = Judge(
                books=books_of(copy, postgres),
                receiver=scene.receiver,
                plugins=scene.names,
            )
            judge.audit()
            assert judge.unsound == []
            # Begun earlier than now, so the receiver has heard of all that is done.
            assert judge.false_done == []
            kept = {event.id: event.body for event in judge.read().events}
            until_then = [
                event
                for event in scene.judge.read().events
                if event.position <= int(newest)
            ]
            assert [one.id for one in until_then if kept.get(one.id) != one.body] == []
            if scene.engine != "sqlite":
                postgres.drop(copy)
        books = await wind_up(scene)
        track_record(
            "a backup under load",
            **scene.figures(books)
            | {
                "runs": times,
                "repeated": scene.receiver.repeats.total(),
                "recovered in": f"made in {max(took):.1f} s at most",
            },
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)


@pytest.mark.parametrize(
    "store_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.faults)],
    indirect=True,
)
@pytest.mark.timeout(120)
async def test_a_backup_under_load_is_whole_and_disturbs_nothing(
    staged, postgres, tmp_path, track_record
):
    await backs_up(3, staged, postgres, tmp_path, track_record)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_a_hundred_backups_under_load_are_whole_and_disturb_nothing(
    staged, postgres, tmp_path, track_record
):
    await backs_up(rounds(100), staged, postgres, tmp_path, track_record)
