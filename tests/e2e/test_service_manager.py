"""The notification protocol, recorded from a real daemon on a real socket."""

from __future__ import annotations

import signal
import time

import pytest

from support.program import Program
from support.running import QUICK, configure, ended, eventually, running
from support.service_manager import service_manager
from support.simulated_org import simulated

KEY = "sk-managed"
WATCHDOG = 1.0


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path, is_cold=True)


@pytest.fixture
def manager(program):
    with service_manager(str(program.directory / "notify")) as manager:
        program.environ |= {
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": str(round(WATCHDOG * 1e6)),
        }
        yield manager


def source(url: str) -> str:
    return f'[sources.a]\nbase_url = "{url}"\napi_key = "{KEY}"\n{QUICK}'


async def test_the_life_of_a_service_from_start_to_stop(program, manager):
    async with simulated(KEY) as (_, url):
        configure(program, source(url))
        async with running(program) as daemon:
            await eventually(lambda: manager.order == ["READY"], "it is ready")
            # Whoever is told so finds all of it: store, listener, sources.
            assert (await daemon.ready())[0] == 200
            assert (program.directory / "state.db").exists()
            assert "watches 1 source" in manager.status

            configure(program, source(url) + 'backfill = "30d"\n')
            daemon.process.send_signal(signal.SIGHUP)
            await daemon.logged("config.reloaded")
            configure(program, source(url) + 'polll_interval = "1s"\n')
            daemon.process.send_signal(signal.SIGHUP)
            await daemon.logged("config.refused")
            await eventually(lambda: len(manager.order) == 5, "both were answered")
            assert manager.order == ["READY", *["RELOADING", "READY"] * 2]
            stamps = [
                int(note.fields["MONOTONIC_USEC"]) for note in manager.all("RELOADING")
            ]
            assert stamps == sorted(stamps)
            assert abs(stamps[-1] / 1e6 - time.monotonic()) < 30.0
            assert "sources.a.polll_interval" in manager.status

            before = len(manager.all("WATCHDOG"))
            await eventually(
                lambda: len(manager.all("WATCHDOG")) >= before + 4, "signs of life"
            )
            times = [note.at for note in manager.all("WATCHDOG")][-4:]
            assert (times[-1] - times[0]) / 3 <= WATCHDOG / 2
            assert await daemon.stop() == 0
        assert manager.order[-1] == "STOPPING"
        assert manager.order.count("STOPPING") == 1


async def test_who_cannot_start_never_says_that_it_is_ready(program, manager):
    configure(program, '[sources.a]\nkind = "opneai"\napi_key = "k"\n')
    done = await ended(program, "run")
    assert done.code == 2
    assert "READY" not in manager.order


async def test_a_hang_up_before_it_is_ready_is_no_end(program, manager):
    async with simulated(KEY) as (_, url):
        configure(program, source(url))
        async with running(program, wait=False) as daemon:
            await eventually(daemon.said.exists, "it was started")
            await eventually(lambda: manager.notes, "its loop runs")
            daemon.process.send_signal(signal.SIGHUP)
            await daemon.logged("config.reloaded")
            await eventually(lambda: len(manager.order) == 3, "it was answered")
            assert manager.order == ["READY", "RELOADING", "READY"]
            assert await daemon.stop() == 0
