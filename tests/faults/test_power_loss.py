"""The power goes: what was not synced is gone, or torn, and nothing else is."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from support.fault_scene import fault_scene
from support.faulty_disk import Kind, faulty_disk
from support.judge import Judge, SqliteBooks
from support.power_loss import Disk
from support.recording_receiver import Known, Recording
from support.track_record import rounds
from support.winding_up import wind_up

SINKS = 4
SURVIVES = (0.0, 0.0, 0.5, 0.9)
"""Chances that a write which was not synced is there all the same."""


async def loses_power(times, tmp_path, chance, track_record, disk_library):
    began = time.monotonic()
    state = tmp_path / "state"
    url = f"sqlite:///{state / 'state.db'}"
    async with fault_scene(
        tmp_path, url, None, chance, sinks=SINKS, at_once=4
    ) as scene:
        await scene.start()
        await scene.kill()
        for turn in range(times):
            kept = Disk.of(state)
            with faulty_disk(
                disk_library, tmp_path / f"disk{turn}", under=state, noting=True
            ) as disk:
                scene.daemon.environ = disk.environment
                scene.daemon.program.is_cold = True
                await scene.start()
                await scene.at_work()
                await asyncio.sleep(chance.uniform(0.0, 0.7))
                await scene.daemon.kill()
                kept.do(disk.deeds())
            shutil.rmtree(state)
            state.mkdir(mode=0o700)
            kept.write(state, chance.choice(SURVIVES), chance)
            await scene.kill()
            # It was told because it was committed: no power loss may take that back.
            assert scene.judge.invented() == []
        scene.daemon.environ = {}
        scene.daemon.program.is_cold = False
        await scene.start()
        if times > 1:
            await scene.play_out()
        books = await wind_up(scene)
        track_record(
            "power loss under load",
            **scene.figures(books),
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)


async def boundaries(most, tmp_path, chance, track_record, disk_library):
    """Cut one life before and after its syncs, and judge what each cut left."""
    began = time.monotonic()
    state = tmp_path / "state"
    url = f"sqlite:///{state / 'state.db'}"
    async with fault_scene(
        tmp_path, url, None, chance, sinks=SINKS, at_once=4
    ) as scene:
        scene.receiver.diary = diary = []
        await scene.start()
        await scene.kill()
        kept = Disk.of(state)
        with faulty_disk(
            disk_library, tmp_path / "disk", under=state, noting=True
        ) as disk:
            scene.daemon.environ = disk.environment
            scene.daemon.program.is_cold = True
            await scene.start()
            while disk.syncs < most:
                await scene.at_work()
            await scene.daemon.kill()
            deeds = disk.deeds()
    cuts = 0
    done = 0
    for number, deed in enumerate(deeds):
        if deed.kind is not Kind.SYNC:
            continue
        for upto in (number, number + 1):
            kept.do(deeds[done:upto])
            done = upto
            told = [one for one in diary if one.at < deed.at]
            judge_cut(kept, told, scene.names, tmp_path / "cut", chance)
            cuts += 1
    track_record(
        "power loss before and after each sync",
        engine="sqlite",
        runs=cuts,
        lost=0,
        seconds=round(time.monotonic() - began),
    )
    assert cuts >= 2 * most


def judge_cut(kept, told, names, directory, chance):
    """Fail unless a cut left all that was told, and no mark ahead of what was."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    kept.write(directory, chance.choice(SURVIVES), chance)
    books = SqliteBooks(directory / "state.db")
    receiver = Recording(chance)
    for one in told:
        known = Known(one.digest, "", 0)
        known = receiver.known.setdefault((one.plugin, one.event_id), known)
        known.acknowledged += one.is_acknowledged
    judge = Judge(books=books, receiver=receiver, plugins=names)
    judge.audit()
    assert judge.false_done == []
    assert judge.unsound == []
    assert judge.invented() == []


@pytest.mark.timeout(120)
async def test_power_losses_lose_and_invent_nothing(
    tmp_path, chance, track_record, disk_library
):
    await loses_power(1, tmp_path, chance, track_record, disk_library)


async def test_what_a_power_loss_at_a_sync_leaves_is_sound_and_holds_what_was_told(
    tmp_path, chance, track_record, disk_library
):
    await boundaries(15, tmp_path, chance, track_record, disk_library)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_a_hundred_power_losses_lose_and_invent_nothing(
    tmp_path, chance, track_record, disk_library
):
    await loses_power(rounds(100), tmp_path, chance, track_record, disk_library)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_a_power_loss_at_each_of_300_syncs_leaves_what_was_told(
    tmp_path, chance, track_record, disk_library
):
    await boundaries(300, tmp_path, chance, track_record, disk_library)


COMMITS = """
import os, signal, sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute("PRAGMA journal_mode = WAL")
store.execute("CREATE TABLE kept (number INTEGER)")
store.execute(f"PRAGMA synchronous = {sys.argv[2]}")
for number in range(50):
    store.execute("INSERT INTO kept VALUES (?)", (number,))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("how", "left"), [("FULL", 50), ("NORMAL", 0)])
def test_a_power_loss_takes_commits_that_were_not_synced_and_no_others(
    tmp_path, disk_library, how, left
):
    """So that the tests above would see it if the store were less careful."""
    state, after = tmp_path / "state", tmp_path / "after"
    state.mkdir()
    after.mkdir()
    kept = Disk.of(state)
    with faulty_disk(disk_library, tmp_path / "disk", under=state, noting=True) as disk:
        command = [sys.executable, "-c", COMMITS, str(state / "state.db"), how]
        ran = subprocess.run(command, env=disk.environment, check=False)
        assert ran.returncode == -signal.SIGKILL
        kept.do(disk.deeds())
    kept.write(after, 0.0, random.Random(0))
    rows = SqliteBooks(after / "state.db").rows("SELECT count(*) FROM kept")
    assert rows == [(str(left),)]
