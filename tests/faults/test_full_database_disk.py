"""PostgreSQL takes no writes: what is owed is kept, nothing ends, and it says why.

Its tables may find no room, and a statement is refused; its write-ahead log may, and
the server panics, cannot recover, and is started again by whoever looks after it; or it
is read-only from one moment to the next, as a primary is that became a standby.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from support.databases import postgres_server
from support.fault_scene import fault_scene
from support.small_disk import small_disk
from support.stores import make_tables
from support.track_record import rounds
from support.watching import until
from support.winding_up import wind_up

SINKS = 4
AT_ONCE = 8
"""Deliveries of one sink that can be out."""
RESUMED = 10.0
"""s after the database takes writes again."""
ROOM = 96
"""MiB: about twice what an empty cluster takes."""


class FullTables:
    """What a statement adds to a table finds no room."""

    name = "the disk of PostgreSQL's tables full"
    reason = "is full"
    bouts = 4
    """How often it may begin at most: a table that has room left takes some more."""
    is_total = False  #: nothing is written, so nothing can be sent
    on_it = "tables_on"  #: what is on the small disk, as `postgres_server` takes it

    def __init__(self, server, disk):
        self.server, self.disk = server, disk

    @classmethod
    @contextmanager
    def set_up(cls):
        with (
            small_disk(mebibytes=ROOM) as disk,
            postgres_server(**{cls.on_it: disk}) as server,
        ):
            yield cls(server, disk)

    def strike(self):
        """Begin, or go on: what somebody else gave back is taken, too."""
        self.disk.fill()

    def end(self):
        self.disk.free()


class FullLog(FullTables):
    """The write-ahead log finds no room: the server ends, and is started again."""

    name = "the disk of PostgreSQL's log full"
    reason = "PostgreSQL at"  # what it says is not of its disk: it says nothing more
    bouts = 1
    is_total = True
    on_it = "log_on"

    def strike(self):
        super().strike()
        if self.server.process.poll() is None:
            # Others use the server, too: what it has in reserve is soon used up.
            with suppress(subprocess.CalledProcessError):
                text = "SELECT pg_logical_emit_message(false, 'x', repeat('x', 500000))"
                self.server.run(text)

    def end(self):
        super().end()
        with suppress(subprocess.TimeoutExpired):
            self.server.process.wait(timeout=1)
        if self.server.process.poll() is not None:
            self.server.start()


class ReadOnly:
    """Connections stay, and nothing is written by any."""

    name = "PostgreSQL is read-only"
    reason = "read-only"
    bouts = 1
    is_total = True

    def __init__(self, server):
        self.server = server

    @classmethod
    @contextmanager
    def set_up(cls):
        with postgres_server() as server:
            yield cls(server)

    def strike(self):
        self._set("on")

    def end(self):
        self._set("off")

    def _set(self, value):
        self.server.run(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        self.server.run("SELECT pg_reload_conf()")


def is_away(told, reason):
    status, up, reasons = told
    return (status, up) == (503, 0.0) and reason in reasons


@pytest.fixture
def takes_no_writes(tmp_path, chance, track_record):
    """Lend the whole of it: some faults in turn, so often, each so long at most."""
    return partial(strikes, tmp_path, chance, track_record)


async def strikes(tmp_path, chance, track_record, fault, *also, times, longest):
    began, resumed, most = time.monotonic(), [], 0
    with fault.set_up() as trouble:
        troubles = [trouble, *(one(trouble.server) for one in also)]
        url = trouble.server.create()
        await make_tables(url)
        async with fault_scene(
            tmp_path, url, trouble.server, chance, sinks=SINKS, at_once=4
        ) as scene:
            await scene.start()
            process = scene.daemon.process
            for one in troubles * times:
                await scene.at_work()
                await asyncio.sleep(chance.uniform(0.0, 0.5))
                try:
                    await goes_on_for(one, scene, chance.uniform(1.0, longest))
                finally:
                    one.end()
                resumed.append(await scene.goes_on())
                most += one.bouts
                for pair in PAIRS:
                    starts, ends = (len(scene.daemon.lines(event)) for event in pair)
                    assert ends <= starts <= most, pair
            if times > 1:
                await scene.play_out()
            assert process.returncode is None
            books = await wind_up(scene)
            assert (
                scene.daemon.lines("loop.died") + scene.daemon.lines("plugin.defect")
                == []
            )
            repeats = scene.receiver.repeats
            track_record(
                fault.name,
                **scene.recoveries(books, runs=times, took=resumed),
                seconds=round(time.monotonic() - began),
            )
            scene.acquit(books)
    assert max(repeats.values(), default=0) <= SINKS * AT_ONCE
    assert max(resumed) <= RESUMED


PAIRS = (
    ("store.away", "store.back"),
    ("lease.store_away", "lease.store_back"),
    ("poll.waits_for_store", "poll.store_is_back"),
    ("dispatch.paused", "dispatch.resumed"),
)
"""What is said when it starts, and at most once for that when it ends: what waits in
a source whose lease ends meanwhile is begun anew."""


async def goes_on_for(trouble, scene, seconds):
    """Let nothing be written for a while: it must say so, and send nothing."""

    async def is_told():
        trouble.strike()
        return is_away(await scene.stands(), trouble.reason)

    await until(is_told, within=30, every=0.1, what="it says that nothing is written")
    # What was acknowledged and cannot be written comes again if its lease ends.
    scene.receiver.life += 1
    before, end = scene.receiver.arrivals, time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.5)
        # A table that has room left takes a little more, and that is no trouble.
        within = 0.0 if trouble.is_total else RESUMED
        await until(is_told, within=within, every=0.1, what="it says so all the time")
        assert (await scene.daemon.asked("/livez"))[0] == 200
    if trouble.is_total:
        # What was on its way when it began.
        assert scene.receiver.arrivals - before <= SINKS * AT_ONCE


@pytest.mark.timeout(120)
async def test_a_database_that_takes_no_writes_pauses_everything_and_costs_nothing(
    takes_no_writes,
):
    await takes_no_writes(FullTables, ReadOnly, times=1, longest=1.5)


LONGEST = 30.0
"""s: two leases, and more."""


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_a_database_whose_tables_find_no_room_often_costs_nothing(
    takes_no_writes,
):
    await takes_no_writes(FullTables, times=rounds(10), longest=LONGEST)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_a_database_that_panics_for_want_of_room_often_costs_nothing(
    takes_no_writes,
):
    await takes_no_writes(FullLog, times=rounds(10), longest=LONGEST)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_a_database_that_is_read_only_often_costs_nothing(takes_no_writes):
    await takes_no_writes(ReadOnly, times=rounds(10), longest=LONGEST)
