"""What a service manager hears: signs of life while all goes on, and how it is."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from support.service_manager import service_manager
from support.watching import until
from tunewatch.app.notifying import Notifier
from tunewatch.app.service import Service
from tunewatch.app.store_presence import StorePresence
from tunewatch.clock import SystemClock
from tunewatch.web import PartState, Readiness

WATCHDOG = 0.2


@dataclass
class Health:
    """A daemon that is as the test says."""

    stuck: list[str] = field(default_factory=list)
    report: Readiness = field(default_factory=lambda: Readiness(ready=True))
    store: StorePresence = field(default_factory=StorePresence)
    is_started: bool = True
    is_stopping: bool = False

    def live(self):
        return self.stuck

    def ready(self):
        return self.report


@pytest.fixture(params=["path", "abstract name"])
def manager(request, tmp_path):
    name = f"@tunewatch-{os.getpid()}-{tmp_path.name}"
    with service_manager(
        name if request.param == "abstract name" else str(tmp_path / "notify")
    ) as manager:
        yield manager


def notifier(address, **environ):
    environ |= {"NOTIFY_SOCKET": address}
    found = Notifier.of(environ)
    assert not environ.keys() & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    return found


@asynccontextmanager
async def serving(manager, health):
    told = notifier(manager.address, WATCHDOG_USEC=str(round(WATCHDOG * 1e6)))
    service = Service(notifier=told, health=health, clock=SystemClock())
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(service.keep())
        yield service
        task.cancel()


async def test_signs_of_life_come_twice_as_often_as_wanted_until_a_loop_is_stuck(
    manager,
):
    health = Health()
    async with serving(manager, health):
        await until(lambda: len(manager.all("WATCHDOG")) > 4, what="signs of life")
        times = [note.at for note in manager.all("WATCHDOG")]
        assert (times[-1] - times[0]) / (len(times) - 1) <= WATCHDOG / 2
        health.stuck = ["the loop lease made no progress for 70 s"]
        await asyncio.sleep(WATCHDOG)
        before = len(manager.all("WATCHDOG"))
        await asyncio.sleep(3 * WATCHDOG)
        assert len(manager.all("WATCHDOG")) == before
        health.stuck = []
        await until(lambda: len(manager.all("WATCHDOG")) > before, what="it goes on")


async def test_a_blocked_event_loop_gives_no_sign_of_life(manager):
    async with serving(manager, Health()):
        await until(lambda: manager.all("WATCHDOG"), what="a sign of life")
        before = len(manager.all("WATCHDOG"))
        block(3 * WATCHDOG)
        assert len(manager.all("WATCHDOG")) <= before + 1


async def test_a_long_start_asks_for_time_and_says_what_it_waits_for(manager):
    health = Health(is_started=False)
    health.store.away("no connection to db:5432")
    async with serving(manager, health) as service:
        await until(lambda: manager.all("EXTEND_TIMEOUT_USEC"), what="more time")
        assert not manager.all("WATCHDOG"), "it is not watched before it is ready"
        assert manager.status == "waiting for the database: no connection to db:5432"
        health.store.back()
        health.is_started = True
        service.ready()
        await until(lambda: manager.order == ["READY"], what="it is ready")
        health.is_stopping = True
        service.stopping()
        asked = len(manager.all("EXTEND_TIMEOUT_USEC"))
        await until(
            lambda: len(manager.all("EXTEND_TIMEOUT_USEC")) > asked,
            what="a long stop asks for time, too",
        )
        assert manager.order == ["READY", "STOPPING"]
        assert manager.status.startswith("stopping")


async def test_the_status_names_what_is_in_trouble_in_one_line(manager):
    sources = {f"s{n}": PartState(state="up") for n in range(3)}
    sources["bad"] = PartState(state="refused", reason="401:\nno such\tkey")
    plugins = {f"p{n}": PartState(state="probing", reason="503") for n in range(3)}
    health = Health(report=Readiness(ready=True, sources=sources, plugins=plugins))
    async with serving(manager, health) as service:
        await until(lambda: manager.all("STATUS"), what="a status")
        assert manager.status == (
            "watches 4 sources, 3 plugins; bad refused (401: no such key); "
            "p0 probing (503); p1 probing (503); 1 more in trouble"
        )
        service.refused = "sources.a.kind: wanted…"
        await until(lambda: "goes on as before" in manager.status, what="refused")
        statuses = len(manager.all("STATUS"))
        await asyncio.sleep(2 * WATCHDOG)
        assert len(manager.all("STATUS")) == statuses, "only news is told"


async def test_the_status_says_that_a_web_configuration_is_refused(manager):
    refused = PartState(state="refused", reason="web.yml: wanted YAML")
    health = Health(report=Readiness(ready=True, web_config=refused))
    async with serving(manager, health):
        await until(lambda: manager.all("STATUS"), what="a status")
        assert manager.status == (
            "watches 0 sources, 0 plugins; "
            "web configuration refused: web.yml: wanted YAML"
        )


async def test_a_reload_carries_its_monotonic_stamp(manager):
    told = notifier(manager.address)
    told.reloading()
    told.ready("as new")
    await until(lambda: manager.order == ["RELOADING", "READY"], what="both")
    stamp = int(manager.all("RELOADING")[0].fields["MONOTONIC_USEC"])
    assert abs(stamp / 1e6 - manager.notes[0].at) < 5.0


def test_without_a_service_manager_nothing_is_told_and_nothing_fails(tmp_path):
    silent = Notifier.of({})
    assert not silent.is_heard
    silent.ready("nobody hears it")
    gone = notifier(str(tmp_path / "gone"), WATCHDOG_USEC="5000000")
    gone.ready("nobody listens")
    assert gone.watchdog == 5.0


def test_a_watchdog_of_another_process_is_not_ours():
    environ = {"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}
    assert Notifier.of(environ).watchdog is None


def block(seconds: float) -> None:
    """Hold the event loop, as a plugin that knows no better."""
    time.sleep(seconds)
