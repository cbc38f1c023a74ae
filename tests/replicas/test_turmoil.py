"""Replicas that are frozen, cut off, killed and rolled, while jobs move."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from functools import partial

import pytest

from support.databases import postgres_server
from support.fleet import fleet
from support.pgbouncer import pgbouncer
from support.private_network import Line, private_network
from support.track_record import rounds
from support.turmoil import Turmoil

MINUTES = float(os.environ.get("FAULTS_MINUTES", "60"))
"""How long faults are mixed."""
POLLED = 0.2 + 2.0
"""s within which every source is asked after: the interval, and what is lost of it."""


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_what_is_frozen_or_killed_is_taken_over_and_does_no_harm(
    staged, chance, track_record
):
    began = time.monotonic()
    async with staged() as scene:
        turmoil = Turmoil(scene, chance)
        _, second, third = scene.replicas
        await scene.begin()
        await scene.shared_evenly()
        await turmoil.freeze(second)
        await scene.shared_evenly()
        await turmoil.kill(third)
        await turmoil.judged("3 replicas: frozen, killed", track_record, began)


@pytest.fixture
def befalls(chance, track_record):
    """Lend what lets one fault befall the replicas of a fleet, so many times."""
    return partial(again_and_again, chance, track_record)


async def again_and_again(chance, track_record, fault, staged, *, times, name):
    """Let it befall one of them each time that shares are even, and judge."""
    began = time.monotonic()
    async with staged() as scene:
        turmoil = Turmoil(scene, chance)
        await scene.begin()
        for _ in range(times):
            await scene.shared_evenly()
            await turmoil.any_of(partial(fault, turmoil))
        await turmoil.judged(name, track_record, began)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("times", [6, 100])
async def test_what_is_cut_off_from_the_database_is_taken_over_and_does_no_harm(
    staged, befalls, times
):
    await befalls(Turmoil.cut, staged, times=times, name="3 replicas: cut off")


@pytest.fixture
def on_lines(tmp_path, chance):
    """Lend a fleet in a network of its own, whose kernel loses packets when told to."""

    @asynccontextmanager
    async def staged():
        lines = [Line(f"127.0.1.{number}") for number in (1, 2, 3)]
        addresses = [line.address for line in lines]
        with private_network(), postgres_server(*addresses) as server:
            async with fleet(
                tmp_path, server.create(), server, chance, lines=lines
            ) as scene:
                yield scene

    return staged


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("times", [6, 100])
async def test_what_packets_are_dropped_of_is_taken_over_and_does_no_harm(
    on_lines, befalls, times
):
    await befalls(
        Turmoil.cut, on_lines, times=times, name="3 replicas: packets dropped"
    )


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_who_loses_half_of_all_packets_does_no_harm(on_lines, befalls):
    await befalls(
        Turmoil.thin,
        on_lines,
        times=rounds(20),
        name="3 replicas: half of all packets",
    )


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("times", [10, 200])
async def test_replicas_that_are_frozen_past_their_lease_do_no_harm_when_they_wake(
    staged, chance, track_record, times
):
    began = time.monotonic()
    async with staged() as scene:
        turmoil = Turmoil(scene, chance)
        await scene.begin()
        await scene.shared_evenly()
        for _ in range(times):
            await turmoil.any_of(turmoil.freeze)
        await scene.shared_evenly()
        ended, fenced = await scene.lost("ended"), await scene.lost("fenced")
        await turmoil.judged(
            "3 replicas: SIGSTOP, SIGCONT",
            track_record,
            began,
            f"{ended} leases ended, and {fenced} times a write under one was refused",
        )
    assert ended >= times


@pytest.mark.faults
@pytest.mark.timeout(60 * MINUTES + 3600)
async def test_three_replicas_survive_an_hour_of_mixed_faults(
    staged, postgres, chance, track_record
):
    began = time.monotonic()
    with pgbouncer(postgres) as pooler:
        async with staged(behind=pooler.port) as scene:
            turmoil = Turmoil(scene, chance)
            faults = (
                turmoil.freeze,
                turmoil.cut,
                turmoil.kill,
                turmoil.roll,
                # These concern everybody.
                lambda _one: turmoil.roll_the_pooler(pooler),
                lambda _one: turmoil.restart_the_database(postgres),
            )
            await scene.begin()
            await scene.shared_evenly()
            while time.monotonic() < began + 60 * MINUTES:
                await turmoil.any_of(*faults)
            await turmoil.judged("3 replicas: mixed faults", track_record, began)


@pytest.mark.faults
@pytest.mark.timeout(2 * 3600)
async def test_fifty_rolling_restarts_under_load_lose_and_repeat_nothing(
    staged, chance, track_record
):
    began = time.monotonic()
    async with staged() as scene:
        turmoil = Turmoil(scene, chance)
        await scene.begin()
        for _ in range(50):
            for one in scene.replicas:
                await turmoil.roll(one)
        unwatched = longest_gap(scene.moving.api.requests)
        await turmoil.judged(
            "3 replicas: rolled",
            track_record,
            began,
            f"no source was left alone for more than {unwatched:.1f} s",
        )
    assert scene.receiver.repeats.total() == 0
    assert unwatched <= POLLED


def longest_gap(requests):
    """Return the longest that a source was not asked after, in s."""
    newest, longest = {}, 0.0
    for one in requests:
        longest = max(longest, one.at - newest.get(one.key, one.at))
        newest[one.key] = one.at
    return longest
