"""Trouble of every kind that a process outlives, for hours: it holds no more by it.

Nothing here ends the daemon. Memory is told as a slope, after the first quarter: until
then it fills what it keeps.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from contextlib import asynccontextmanager
from typing import NamedTuple

import psutil
import pytest

from support.daemon_process import KEY
from support.rotating_key import KeyInFile
from support.track_record import rounds
from support.watching import until
from support.winding_up import wind_up

MIB = 2**20
A_MINUTE = 60.0
STEEPEST = 1.0
"""MiB an hour."""
MORE_FILES = 4
"""Connections that are kept: as many as were ever needed at once."""
FELT = 10.0
"""s after which a disk that is full is usually found to be."""
LONGEST_LOG = 64.0
"""MiB of SQLite's write-ahead log."""


class Held(NamedTuple):
    """What the process held at a time."""

    at: float  #: monotonic
    resident: int  #: bytes
    files: int
    threads: int
    log: int  #: bytes of the write-ahead log


class Soak:
    """The scene, what can go wrong in it, and what the daemon held meanwhile."""

    def __init__(self, scene, disk, chance):
        self.scene, self.disk, self.chance = scene, disk, chance
        self.log = disk.under / "state.db-wal"
        self.key, self.keys, self.reloads = KEY, 0, 0
        self.held = []
        self.kinds = [
            self.one_refuses,
            self.one_hangs,
            self.answers_fail,
            self.nothing_answers,
            self.disk_full,
            self.key_rotated,
            self.reloaded,
        ]

    async def passes(self, longest):
        return await asyncio.sleep(self.chance.uniform(0.5, longest))

    async def one_refuses(self, longest):
        await self._answers(503, longest)

    async def one_hangs(self, longest):
        await self._answers(None, longest)

    async def _answers(self, status, longest):
        one = self.chance.choice(self.scene.names)
        self.scene.receiver.answer = lambda name: status if name == one else 200
        await self.passes(longest)
        self.scene.receiver.answer = lambda _name: 200

    async def answers_fail(self, longest, rate=0.15):
        rule = self.scene.moving.api.chaos(rate=rate, seed=self.chance.randrange(2**31))
        await self.passes(longest)
        rule.lift()

    async def nothing_answers(self, longest):
        await self.answers_fail(longest, rate=1.0)

    async def disk_full(self, longest):
        before = self.disk.struck
        self.disk.fill()
        # Its log is written again from the beginning, and needs no room meanwhile.
        enough = time.monotonic() + FELT
        await until(
            lambda: self.disk.struck > before or time.monotonic() > enough,
            within=2 * FELT,
            what="it is full, or is not found to be",
        )
        await self.passes(longest)
        self.disk.free()

    async def key_rotated(self, longest):
        self.keys += 1
        new = f"sk-{self.keys}"
        self.scene.moving.api.rotate_key(self.key, new)
        await self.passes(longest)
        self.scene.daemon.keep(new)
        self.key = new

    async def reloaded(self, longest):
        daemon = self.scene.daemon
        daemon.delivery = f"timeout = '10s', concurrency = {self.chance.randint(2, 16)}"
        daemon.interval = f"{self.chance.randint(150, 300)}ms"
        daemon.configure()
        daemon.process.send_signal(signal.SIGHUP)
        self.reloads += 1
        await until(
            lambda: len(daemon.lines("config.reloaded")) == self.reloads,
            within=longest + 60.0,
            what="it is reloaded",
        )

    async def watch(self):
        """Note what the daemon holds, every second, until it is called off."""
        process = psutil.Process(self.scene.daemon.process.pid)
        while True:
            with process.oneshot():
                self.held.append(
                    Held(
                        time.monotonic(),
                        process.memory_info().rss,
                        process.num_fds(),
                        process.num_threads(),
                        self.log.stat().st_size if self.log.exists() else 0,
                    )
                )
            await asyncio.sleep(1.0)


@pytest.fixture
def soaked(on_a_disk, chance):
    """Lend a daemon that is at work, and whose troubles are all at hand."""

    @asynccontextmanager
    async def staged():
        async with on_a_disk(kind=KeyInFile) as (scene, disk):
            scene.daemon.keep(KEY)
            await scene.start()
            yield Soak(scene, disk, chance)

    return staged


async def lives_on(seconds, longest, soaked, chance, track_record):
    """Let each kind of trouble come, in any order, again and again.

    Returns what was held from the first quarter on.
    """
    began, took, troubles = time.monotonic(), [], []
    async with soaked() as soak:
        scene, process = soak.scene, soak.scene.daemon.process
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(soak.watch(), name="watching")
            while not troubles or time.monotonic() < began + seconds:
                for one in chance.sample(soak.kinds, len(soak.kinds)):
                    await scene.at_work()
                    await soak.passes(longest)
                    await one(longest)
                    troubles.append(one.__name__)
                    took.append(await scene.goes_on())
            watching.cancel()
        assert process.returncode is None
        if seconds > 0:
            await scene.play_out()
        books = await wind_up(scene)
        track_record(
            "hours of mixed troubles",
            **scene.recoveries(books, runs=len(troubles), took=took)
            | {"recovered in": f"{max(took):.1f} s at most; {told(soak.held)}"},
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
        assert not scene.daemon.lines("loop.died")
        assert soak.disk.struck > 0
    assert max(one.log for one in soak.held) / MIB <= LONGEST_LOG
    return settled(soak.held)


def settled(held):
    """Leave out the first quarter."""
    return held[len(held) // 4 :]


def told(held):
    """Say what was held from the first quarter on."""
    later = settled(held)
    return (
        f"{held[-1].resident / MIB:.0f} MiB resident, {slope(later):+.1f} an hour,"
        f" {grown(later, 'files'):+} files, {grown(later, 'threads'):+} threads,"
        f" log {max(one.log for one in held) / MIB:.0f} MiB at most"
    )


def slope(held):
    """Return MiB an hour, by the line that fits best."""
    line = statistics.linear_regression(
        [one.at / 3600 for one in held], [one.resident / MIB for one in held]
    )
    return line.slope


def grown(held, name):
    """Return by how much the most of the second half exceeds that of the first."""
    half, values = len(held) // 2, [getattr(one, name) for one in held]
    return max(values[half:]) - max(values[:half])


@pytest.mark.timeout(200)
async def test_trouble_of_every_kind_is_outlived(soaked, chance, track_record):
    await lives_on(0, 1.0, soaked, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(25 * 3600)
async def test_hours_of_trouble_leave_nothing_behind(soaked, chance, track_record):
    minutes = rounds(8 * 60)
    later = await lives_on(minutes * A_MINUTE, 15.0, soaked, chance, track_record)
    assert slope(later) <= STEEPEST
    assert grown(later, "files") <= MORE_FILES
    assert grown(later, "threads") <= 0
