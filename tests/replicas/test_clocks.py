"""Replicas whose wall clocks are set and drift: leases go by the database's alone."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial

import pytest

from support.clocked import HEEDED, SetClock
from support.track_record import rounds
from support.turmoil import Turmoil
from support.watching import until

MINUTE = 60.0
YEAR = 365 * 24 * 60 * MINUTE
STEPS = [sign * step for step in (5 * MINUTE, 60 * MINUTE, YEAR) for sign in (1, -1)]
DRIFT = 0.2
"""s that a clock gains in each: a thousand times what a bad one does."""


async def clocks_are_set(times, staged, chance, track_record):
    """Set one clock each time, and roll or kill a replica now and then."""
    began, off_by = time.monotonic(), []
    async with staged() as scene, AsyncExitStack() as stack:
        turmoil = Turmoil(scene, chance)
        clocks = [SetClock(one.program.directory / "clock") for one in scene.replicas]
        for one, clock in zip(scene.replicas, clocks, strict=True):
            clock.lend(one.program)
        await scene.begin()
        await scene.shared_evenly()
        *set_by_hand, drifts = clocks
        await stack.enter_async_context(drifts.drifting(DRIFT))
        for _ in range(times):
            before = scene.receiver.arrivals
            off_by.append(chance.choice(STEPS))
            chance.choice(set_by_hand).set(off_by[-1])
            await asyncio.sleep(2 * HEEDED)
            await until(
                partial(more_than, scene.receiver, before + 20), what="all go on"
            )
            if chance.random() < 1 / 3:
                await chance.choice((turmoil.roll, turmoil.kill))(
                    chance.choice(scene.replicas)
                )
                await scene.shared_evenly()
        lost = [await scene.lost("ended"), await scene.lost("fenced")]
        await turmoil.judged(
            "3 replicas: clocks set", track_record, began, runs=len(off_by)
        )
    assert lost == [0, 0], "a lease went by the clock of a machine"


def more_than(receiver, count):
    return receiver.arrivals > count


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_replicas_whose_clocks_are_set_and_drift_share_and_lose_nothing(
    staged, chance, track_record
):
    await clocks_are_set(rounds(60), staged, chance, track_record)
