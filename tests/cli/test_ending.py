"""A process that has done all it had to ends, whatever a thread still waits for."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from support.distribution import write_package
from support.program import Program
from support.running import QUICK, configure, running
from support.simulated_org import simulated
from tunewatch.cli.ending import PATIENCE

KEY = "sk-ending"
PROGRAM = """
import sys, threading, time
from tunewatch.cli.ending import end_anyway
for name in sys.argv[1:]:
    threading.Thread(target=time.sleep, args=(60,), name=name).start()
end_anyway(5, within=0.3)
print("all is closed")
sys.exit(5)
"""
STAYS = """
import threading, time
from contextlib import asynccontextmanager

from pydantic import BaseModel

from tunewatch.plugin import Plugin


class Settings(BaseModel):
    pass


class Stays:
    async def deliver(self, delivery):
        pass


@asynccontextmanager
async def open_stays(settings, context):
    threading.Thread(target=time.sleep, args=(3600,), name="stays").start()
    yield Stays()


PLUGIN = Plugin(settings=Settings, events=("*",), open=open_stays)
"""


def ended(*threads: str) -> tuple[subprocess.CompletedProcess[str], float]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *threads],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done, time.monotonic() - began


def test_a_thread_that_hangs_keeps_the_process_for_a_moment_and_is_named():
    done, took = ended("of-a-library", "of-a-plugin")
    assert done.returncode == 5
    assert took < 20, "it waited for the thread"
    assert "all is closed" in done.stdout
    assert "daemon.leaves_threads_behind" in done.stdout
    assert "of-a-library" in done.stdout
    assert "of-a-plugin" in done.stdout


def test_without_such_a_thread_it_ends_at_once_and_says_nothing():
    done, _ = ended()
    assert (done.returncode, done.stdout) == (5, "all is closed\n")


@pytest.mark.timeout(90)
async def test_a_daemon_ends_in_order_although_a_plugin_left_a_thread(tmp_path):
    entry = {"tunewatch.plugins": {"stays": "acme_stays:PLUGIN"}}
    site = write_package(tmp_path, "acme-stays", entry, {"acme_stays": STAYS})
    program = Program(tmp_path, sites=(site,))
    async with simulated(KEY) as (_, url):
        configure(
            program,
            f'[sources.a]\nbase_url = "{url}"\napi_key = "{KEY}"\n{QUICK}'
            "[plugins.stays]\n",
        )
        async with running(program) as daemon:
            began = time.monotonic()
            assert await daemon.stop() == 0
            assert time.monotonic() - began < PATIENCE + 10
            [left] = daemon.log("daemon.leaves_threads_behind")
            assert left["threads"] == ["stays"]
            [stopped] = daemon.log("daemon.stopped")
            assert stopped["code"] == 0
