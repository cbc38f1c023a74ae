"""The wall clock an hour forward or back, in the middle of work: nothing changes."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from support.daemon_process import DaemonProcess
from support.judge import Judge, books_of, told_twice
from support.moving_jobs import moving_jobs
from support.program import Program
from support.recording_receiver import recording
from support.watching import until
from tunewatch import config
from tunewatch.app.daemon import run_daemon
from tunewatch.cli.settings import plugin_model, source_model
from tunewatch.clock import SystemClock

HOUR = 3600.0
YEAR = 365 * 24 * HOUR
NAMES = ["healthy", "down", "blaming"]
ANSWERS = {"healthy": 200, "down": 503, "blaming": 422}
FIRST_WAIT = 4.0
"""s before which neither a receiver that is down nor an event is tried again."""


class SteppingClock(SystemClock):
    """The machine's time, with a wall clock that somebody sets."""

    def __init__(self):
        self.step = 0.0

    def now(self):
        return super().now() + self.step


@asynccontextmanager
async def running(path, clock):
    """Run the daemon in this process, on a clock of ours."""
    settings = config.load(
        path, {}, source_model=source_model, plugin_model=plugin_model
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        daemon = tasks.create_task(
            run_daemon(settings, stop=stop, clock=clock), name="daemon"
        )
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(20):
                assert await daemon == 0


def told_by(receiver, name):
    return [known for (one, _), known in receiver.known.items() if one == name]


def tries_noted(receiver):
    """Answer by the table, and note when each plugin was answered."""
    tried = {name: [] for name in NAMES}

    def answer(name):
        tried[name].append(time.monotonic())
        return ANSWERS[name]

    receiver.answer = answer
    return tried


def tried_once(receiver, name):
    return all(known.arrivals == 1 for known in told_by(receiver, name))


@pytest.mark.parametrize(
    ("store_url", "step"),
    [
        pytest.param("sqlite", -HOUR, id="sqlite-back"),
        pytest.param("postgresql", HOUR, id="postgresql-forward"),
        pytest.param("sqlite", HOUR, id="sqlite-forward", marks=pytest.mark.faults),
        pytest.param(
            "postgresql", -HOUR, id="postgresql-back", marks=pytest.mark.faults
        ),
        pytest.param("sqlite", YEAR, id="sqlite-a-year", marks=pytest.mark.faults),
        pytest.param("sqlite", -YEAR, id="sqlite-year-back", marks=pytest.mark.faults),
        pytest.param("postgresql", YEAR, id="pg-a-year", marks=pytest.mark.faults),
        pytest.param("postgresql", -YEAR, id="pg-year-back", marks=pytest.mark.faults),
    ],
    indirect=["store_url"],
)
async def test_a_clock_that_is_set_by_an_hour_changes_nothing(
    store_url, postgres, tmp_path, chance, step
):
    clock = SteppingClock()
    async with (
        recording(chance) as receiver,
        moving_jobs(chance, at_once=4) as moving,
    ):
        tried = tries_noted(receiver)
        config_file = DaemonProcess(
            program=Program(tmp_path),
            state=store_url,
            api_url=moving.url,
            hooks={name: receiver.url(name) for name in NAMES},
            # So short that an hour forward would bury everything that waits.
            delivery="timeout = '10s', concurrency = 8, max_age = '30m'",
        ).configure()
        judge = Judge(
            books=books_of(store_url, postgres), receiver=receiver, plugins=NAMES
        )
        async with running(config_file, clock):
            await until(lambda: tried["down"], what="it is down")
            await until(lambda: tried["blaming"], what="it blames")
            began = time.monotonic()
            # What was out is back; what waits from now on waits by the clock.
            await asyncio.sleep(0.5)
            before = len(tried["down"])
            clock.step = step
            heard = receiver.acknowledged_of("healthy")
            await until(
                lambda: receiver.acknowledged_of("healthy") > heard + 30,
                what="polling and delivering go on",
            )
            while time.monotonic() < began + FIRST_WAIT - 0.5:
                assert tried_once(receiver, "blaming"), "tried before its time"
                await asyncio.sleep(0.05)
            await until(
                lambda: len(tried["down"]) > before,
                within=10,
                what="the probe comes when it is due",
            )
            probes = [began, *tried["down"][before:]]
            waits = [later - earlier for earlier, later in pairwise(probes)]
            assert min(waits) >= FIRST_WAIT - 0.5, "a burst of retries"
            # The look for what waited too long has passed by, and buried nothing.
            await asyncio.sleep(max(0.0, began + 11.0 - time.monotonic()))
            receiver.answer = lambda _plugin: 200
            moving.is_frozen = True
            judge.plugins = ["healthy"]
            await until(lambda: not judge.missing(), every=0.3, what="all is told")
            judge.plugins = ["healthy", "down"]
            await until(
                lambda: not judge.missing(),
                within=70,
                every=0.3,
                what="the one that was down has everything",
            )
        books = judge.read()
    assert books.buried == []
    assert receiver.inversions == []
    assert receiver.uncalled == []
    assert receiver.altered == []
    assert told_twice(books.events) == []
