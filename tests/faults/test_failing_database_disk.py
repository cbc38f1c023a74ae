"""A disk that fails under PostgreSQL: it panics, and what is owed is kept.

A failed sync, and a failed write to its log, end all sessions; it recovers from its log
and answers again by itself. While the disk goes on failing it cannot, and ends; it is
started again by whoever looks after it. Elsewhere a failed write costs one statement.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.databases import postgres_server
from support.fault_scene import fault_scene
from support.faulty_disk import faulty_disk
from support.stores import make_tables
from support.track_record import rounds
from support.watching import until
from support.winding_up import wind_up

SINKS = 4
AT_ONCE = 8
"""Deliveries of one sink that can be out."""
SHORT = 2
"""Failures of the short form."""
RESUMED = 10.0
"""s after the disk is well."""


@contextmanager
def on_a_failing_disk(library):
    """Lend a PostgreSQL, and the disk that its files are on."""
    # Where its user, who is another one, finds it.
    with tempfile.TemporaryDirectory(prefix="tw-disk-", dir="/tmp") as found:
        directory = Path(found)
        directory.chmod(0o755)
        shutil.copy(library, directory)
        with (
            postgres_server() as server,
            faulty_disk(
                directory / library.name, directory / "disk", under=server.data
            ) as disk,
        ):
            server.stop()
            server.environment = disk.environment
            server.start()
            yield server, disk


async def fails(times, disk_library, tmp_path, chance, track_record):
    began, resumed = time.monotonic(), []
    with on_a_failing_disk(disk_library) as (server, disk):
        url = server.create()
        await make_tables(url)
        async with fault_scene(
            tmp_path, url, server, chance, sinks=SINKS, at_once=4
        ) as scene:
            await scene.start()
            process = scene.daemon.process
            for turn in range(times):
                await scene.at_work()
                fail = disk.fail_sync if turn % 2 else disk.fail_write
                before, is_lasting = disk.struck, turn % 4 > 1
                fail(chance.randint(1, 60), lasting=is_lasting)
                await until(
                    lambda before=before: disk.struck > before,
                    within=60,
                    what="something is refused",
                )
                # What was acknowledged and cannot be written may come again.
                scene.receiver.life += 1
                if is_lasting:
                    await ends(scene, server)
                disk.heal()
                if server.process is None:
                    server.start()
                resumed.append(await scene.goes_on())
                assert process.returncode is None, scene.daemon.said()
            panics = (server.directory / "log").read_text().count("PANIC:")
            if times > SHORT:
                await scene.play_out()
            books = await wind_up(scene)
            assert scene.daemon.lines("loop.died") == []
            assert scene.daemon.lines("plugin.defect") == []
            repeats = scene.receiver.repeats
            track_record(
                "the disk under PostgreSQL fails",
                **scene.recoveries(books, runs=times, took=resumed),
                seconds=round(time.monotonic() - began),
            )
            scene.acquit(books)
    assert panics >= times // 2
    assert max(repeats.values(), default=0) <= SINKS * AT_ONCE
    assert max(resumed) <= RESUMED


async def ends(scene, server):
    """Wait until the server has given up, and the daemon says that it is away."""
    await until(
        lambda: server.process.poll() is not None, within=60, what="it gives up"
    )

    async def is_told():
        status, up, _ = await scene.stands()
        return (status, up) == (503, 0.0)

    await until(is_told, within=30, every=0.1, what="it says that nothing is written")
    assert (await scene.daemon.asked("/livez"))[0] == 200
    server.process = None


@pytest.mark.timeout(180)
async def test_a_disk_that_fails_under_postgresql_costs_nothing(
    disk_library, tmp_path, chance, track_record
):
    await fails(SHORT, disk_library, tmp_path, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_a_disk_that_fails_often_under_postgresql_costs_nothing(
    disk_library, tmp_path, chance, track_record
):
    await fails(rounds(40), disk_library, tmp_path, chance, track_record)
