"""SIGTERM: in time, with exit code 0, and nothing lost; a second one at once."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from support.track_record import rounds
from support.watching import until

GRACE = 5.0
OVER = 1.5
"""s that may pass after the grace: closing the store, ending the interpreter."""
YOUNG = 1.0
"""s after its birth at most that it is told to stop: often before it is ready."""
ECHO = 0.7
"""s after which a signal is a second one, and no echo of the first."""


async def stops(times, staged, chance, track_record):
    """Stop it at work."""
    began, took = time.monotonic(), []
    async with staged(grace=GRACE, at_once=4, sinks=8) as scene:
        for _ in range(times):
            await scene.receiver.silence()
            scene.receiver.life += 1
            await scene.daemon.start()
            await scene.at_work()
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            code, seconds = await scene.daemon.stop()
            assert code == 0, scene.daemon.said()
            took.append(seconds)
            scene.judge.audit()
        await were_in_order("SIGTERM under load", scene, took, began, track_record)


async def were_in_order(fault, scene, took, began, track_record):
    """Play it out after the last stop, and look at what they all left."""
    await scene.start()
    await scene.play_out()
    books = await scene.close()
    track_record(
        fault,
        **scene.recoveries(books, runs=len(took), took=took)
        | {"recovered in": f"stopped in {max(took):.1f} s at most"},
        seconds=round(time.monotonic() - began),
    )
    scene.acquit(books)
    assert max(took) <= GRACE + OVER
    assert scene.receiver.repeats.total() == 0, "what was out was repeated"
    said = scene.daemon.log.read_text()
    for words in ("never retrieved", "was destroyed", "never awaited", "Traceback"):
        assert words not in said


@pytest.mark.timeout(200)
async def test_a_stop_under_load_is_in_time_and_loses_and_repeats_nothing(
    staged, chance, track_record
):
    await stops(10, staged, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_two_hundred_stops_under_load_are_in_time_and_lose_nothing(
    staged, chance, track_record
):
    await stops(rounds(200), staged, chance, track_record)


async def stops_young(times, staged, chance, track_record):
    """Stop it at any moment of its first second, when it takes up what was left."""
    began, took, deaf = time.monotonic(), [], 0
    async with staged(grace=GRACE, at_once=4, sinks=8) as scene:
        await scene.start()  # makes the store, in which the judge looks
        assert (await scene.daemon.stop())[0] == 0
        for _ in range(times):
            await scene.receiver.silence()
            scene.receiver.life += 1
            before = scene.daemon.log_size()
            await scene.daemon.spawn()
            await asyncio.sleep(chance.uniform(0.0, YOUNG))
            code, seconds = await scene.daemon.stop()
            # Until it listens to signals, one ends it as it ends any program.
            is_deaf = code == -signal.SIGTERM and scene.daemon.log_size() == before
            assert code == 0 or is_deaf, scene.daemon.said()
            deaf += is_deaf
            took.append(seconds)
            scene.judge.audit()
        assert deaf < times, "it was never told anything"
        fault = "SIGTERM within a second of the start"
        await were_in_order(fault, scene, took, began, track_record)


@pytest.mark.timeout(200)
async def test_a_stop_in_its_first_second_is_in_time_and_loses_and_repeats_nothing(
    staged, chance, track_record
):
    await stops_young(5, staged, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_a_thousand_stops_in_the_first_second_lose_and_repeat_nothing(
    staged, chance, track_record
):
    await stops_young(rounds(1000), staged, chance, track_record)


async def test_an_idle_daemon_stops_within_two_seconds(staged):
    async with staged(at_once=0) as scene:
        await scene.start()
        code, seconds = await scene.daemon.stop()
    assert code == 0
    assert seconds <= 2.0


async def test_a_second_signal_ends_it_at_once_and_loses_nothing(staged):
    async with staged(sinks=2, grace=60.0) as scene:
        receiver, daemon = scene.receiver, scene.daemon
        receiver.answer = lambda _plugin: None
        await scene.start()
        await scene.at_work()
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        await until(lambda: "daemon.told_to_stop" in daemon.said(), what="it heard")
        await asyncio.sleep(ECHO)
        assert daemon.process.returncode is None, "it waits for what is out"
        code, seconds = await daemon.stop()
        assert code == 130, daemon.said()
        assert seconds <= 2.0
        receiver.answer = lambda _plugin: 200
        await scene.start()
        await scene.play_out()
        scene.acquit(await scene.close())
