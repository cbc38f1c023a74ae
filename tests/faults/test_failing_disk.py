"""A disk that is full, or fails: what is owed is kept, what is said is true."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.track_record import rounds
from support.watching import until
from support.winding_up import wind_up

SHORT = 2
"""Failures of the short form."""
RESUMED = 10.0
"""s after there is room again."""
STORE = 3
"""The exit code of a daemon whose store cannot be used."""


async def fills_up(times, longest, on_a_disk, chance, track_record):
    began, filled, resumed = time.monotonic(), 0, []
    async with on_a_disk() as (scene, disk):
        await scene.start()
        process = scene.daemon.process
        while len(resumed) < times:
            await scene.at_work()
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            disk.fill(chance.choice((0, 5000, 40_000)))
            filled += 1
            if not await scene.may_pause("room"):
                # SQLite writes its log anew from the beginning, and needs no room.
                disk.free()
                continue
            await asyncio.sleep(chance.uniform(1.0, longest))
            before = scene.receiver.arrivals
            await asyncio.sleep(0.5)
            assert scene.receiver.arrivals == before, "sent, and no mark of it kept"
            assert await scene.daemon.metric("tunewatch_state_up") == 0.0
            status, _ = await scene.daemon.asked("/livez")
            assert status == 200
            disk.free()
            resumed.append(await scene.goes_on())
            said_once_each(scene.daemon, most=filled, least=len(resumed))
        assert disk.struck > 0
        if times > 1:
            await scene.play_out()
        assert process.returncode is None
        books = await wind_up(scene)
        track_record(
            "disk full, then room again",
            **scene.recoveries(books, runs=times, took=resumed),
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
        assert scene.receiver.repeats.total() == 0
    assert max(resumed) <= RESUMED


def said_once_each(daemon, *, most, least):
    """Who waits says it when it begins and when it ends; not all had to wait."""
    began = 0
    for start, end in (
        ("poll.waits_for_store", "poll.store_is_back"),
        ("dispatch.paused", "dispatch.resumed"),
    ):
        times = len(daemon.lines(start))
        assert times == len(daemon.lines(end)) <= most, start
        began += times
    assert began >= least


@pytest.mark.timeout(120)
async def test_a_full_disk_pauses_everything_and_all_goes_on_with_room(
    on_a_disk, chance, track_record
):
    await fills_up(1, 1.5, on_a_disk, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_a_disk_that_is_full_for_long_and_often_costs_nothing(
    on_a_disk, chance, track_record
):
    await fills_up(rounds(20), 60.0, on_a_disk, chance, track_record)


@pytest.mark.timeout(120)
async def test_a_start_on_a_full_disk_waits_for_room(on_a_disk):
    async with on_a_disk() as (scene, disk):
        await scene.start()
        await scene.at_work()
        await scene.kill()
        disk.fill()
        await scene.begin_life()
        process = await scene.daemon.spawn()
        await until(
            lambda: "store.away" in scene.daemon.said(), within=30, what="it says so"
        )
        await scene.pauses("room")
        disk.free()
        await scene.goes_on()
        assert process.returncode is None
        scene.acquit(await wind_up(scene))


async def fails(times, on_a_disk, chance, track_record):
    """Let the n-th write or sync fail, for many n, once or from then on."""
    began, ended = time.monotonic(), 0
    async with on_a_disk() as (scene, disk):
        await scene.start()
        await scene.kill()
        for turn in range(times):
            disk.heal()
            await scene.begin_life()
            fail = disk.fail_sync if turn % 2 else disk.fail_write
            nth, before, is_lasting = chance.randint(1, 60), disk.struck, turn % 4 > 1
            fail(nth, lasting=is_lasting)
            process = await scene.daemon.spawn()
            await until(
                lambda before=before: disk.struck > before,
                within=60,
                what=f"call {nth} fails",
            )
            if await ends(process):
                said = scene.daemon.said()
                assert process.returncode == STORE, said
                assert "the disk failed under" in said
                assert "Traceback" not in said
                ended += 1
            elif is_lasting:
                # It cannot even make the index beside the file: it waits, and says so.
                await scene.pauses("room")
            else:
                # SQLite's own housekeeping failed, which it does anew from the start.
                await scene.at_work()
            disk.heal()
            await scene.kill()
        await scene.start()
        if times > SHORT:
            await scene.play_out()
        books = await wind_up(scene)
        track_record(
            "EIO on the n-th write or sync",
            **scene.figures(books) | {"runs": times},
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
    assert ended >= times // 2


async def ends(process):
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        return False
    return True


@pytest.mark.timeout(120)
async def test_a_disk_that_fails_ends_the_process_and_costs_nothing(
    on_a_disk, chance, track_record
):
    await fails(SHORT, on_a_disk, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_a_disk_that_fails_a_hundred_times_costs_nothing(
    on_a_disk, chance, track_record
):
    await fails(rounds(100), on_a_disk, chance, track_record)
