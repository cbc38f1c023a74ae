"""Plugins that are exchanged while the daemon runs: one after the other."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry, Counter
from pydantic import BaseModel

from support.watching import until
from tunewatch.app.plugins import Plugins
from tunewatch.clock import FastClock
from tunewatch.dispatch import Gate
from tunewatch.dispatch.seats import Seat
from tunewatch.host import Instance
from tunewatch.plugin import Answer, Plugin, Route


class Settings(BaseModel):
    """What one is called, and what becomes of opening it."""

    mark: str
    hangs: bool = False
    opens_badly: bool = False
    closes_badly: bool = False
    is_view: bool = False


class House:
    """Opens plugins, and notes how."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.dies = asyncio.Semaphore(0)
        self.gates: dict[str, Gate] = {}
        self.registry = CollectorRegistry()
        self.plugins = Plugins(
            gates=self.gates,
            context_of=lambda _instance, registry: registry,
            registry=self.registry,
            clock=FastClock(100.0),
            jitter=lambda: 0.5,
            clear=lambda text: text,
        )

    @asynccontextmanager
    async def opened(self, settings, registry):
        self.log.append(f"open {settings.mark}")
        if settings.hangs:
            await asyncio.Event().wait()
        if settings.opens_badly and self.log.count(f"open {settings.mark}") == 1:
            raise asyncio.CancelledError
        if not settings.is_view:
            # What belongs to one opening must not stand in the way of the next.
            Counter("mine", "Of the plugin's own.", registry=registry).inc()
        try:
            async with asyncio.TaskGroup() as tasks:
                loop = tasks.create_task(self._loop(settings.mark))
                yield View(settings.mark) if settings.is_view else Sink()
                loop.cancel()
        finally:
            self.log.append(f"closed {settings.mark}")
        if settings.closes_badly:
            raise OSError("the broker is gone")

    async def _loop(self, mark):
        """Be a loop of the plugin's own."""
        await self.dies.acquire()
        raise ValueError(mark)

    def instance(self, mark, name="ops", **settings):
        made = Instance(
            name=name,
            kind=name,
            plugin=Plugin(settings=Settings, events=("*",), open=self.opened),
            settings=Settings(mark=mark, **settings),
            events=("*",),
        )
        self.gates[name] = Gate(made, clock=self.plugins.clock, jitter=lambda: 0.5)
        return made

    async def page(self):
        (route, *_) = [one for one in self.plugins.routes if one.path == "/page"]
        return (await route.respond({})).body


class Sink:
    async def deliver(self, delivery):
        """Take it."""


class View:
    def __init__(self, mark):
        self.mark = mark

    def routes(self):
        async def respond(_headers):
            return Answer(body=self.mark.encode(), content_type="text/plain")

        return [Route(path="/page", respond=respond)]


@pytest.fixture
def house():
    return House()


async def test_the_next_opens_when_the_one_before_is_closed_and_not_before(house):
    async with asyncio.TaskGroup() as tasks:
        await house.plugins.open_all(tasks, [house.instance("one")])
        seat = Seat(wake=lambda: None)
        house.gates["ops"].join(seat)
        before = house.gates["ops"]
        [tried] = house.plugins.exchange(tasks, [house.instance("two")], gone=[])
        await asyncio.sleep(0.05)
        assert house.log == ["open one"], "somebody may deliver to it still"
        before.leave(seat)
        await tried.wait()
        assert house.log == ["open one", "closed one", "open two"]
        assert house.gates["ops"].is_taking()
        assert house.registry.get_sample_value("mine_total") == 1.0
        await house.plugins.close_all()
    assert house.log[-1] == "closed two"
    assert house.registry.get_sample_value("mine_total") is None


async def test_one_that_does_not_open_is_given_up_for_the_next_at_once(house):
    async with asyncio.TaskGroup() as tasks:
        stuck = house.instance("one", hangs=True)
        opening = tasks.create_task(house.plugins.open_all(tasks, [stuck]))
        await until(lambda: house.log == ["open one"], what="it tries")
        [tried] = house.plugins.exchange(tasks, [house.instance("two")], gone=[])
        async with asyncio.timeout(5.0):
            await tried.wait()
        assert house.gates["ops"].is_taking()
        opening.cancel()
        await house.plugins.close_all()


async def test_a_page_is_answered_at_every_moment_of_an_exchange(house):
    async with asyncio.TaskGroup() as tasks:
        view = house.instance("one", is_view=True)
        await house.plugins.open_all(tasks, [view])
        assert await house.page() == b"one"
        house.plugins.exchange(tasks, [house.instance("two", is_view=True)], gone=[])

        # Asked at every turn of the loop: there is always somebody who answers.
        async def is_new():
            return await house.page() == b"two"

        await until(is_new, every=0.0, what="the new one answers")
        assert await house.page() == b"two"
        await until(lambda: "closed one" in house.log, what="the old one is closed")
        assert house.log.index("open two") < house.log.index("closed one")
        assert len(house.plugins.routes) == 1
        await house.plugins.close_all()


async def test_who_is_gone_is_closed_and_answers_no_more(house):
    async with asyncio.TaskGroup() as tasks:
        instances = [house.instance("one", name="a", is_view=True), house.instance("b")]
        await house.plugins.open_all(tasks, instances)
        house.plugins.exchange(tasks, [], gone=["a"])
        await until(lambda: "closed one" in house.log, what="it is closed")
        assert house.plugins.routes == []
        assert "closed b" not in house.log
        await house.plugins.close_all()


async def test_a_stop_in_the_middle_of_an_exchange_leaves_nothing_open(house):
    async with asyncio.timeout(10.0), asyncio.TaskGroup() as tasks:
        await house.plugins.open_all(tasks, [house.instance("one", is_view=True)])
        house.plugins.exchange(tasks, [house.instance("two", is_view=True)], gone=[])
        house.plugins.exchange(tasks, [house.instance("three", is_view=True)], gone=[])
        await house.plugins.close_all()
    opened = {line.split()[1] for line in house.log if line.startswith("open")}
    closed = {line.split()[1] for line in house.log if line.startswith("closed")}
    assert opened == closed


async def test_one_whose_own_loop_dies_harms_nobody_else_and_is_opened_again(house):
    async with asyncio.TaskGroup() as tasks:
        other = house.instance("other", name="other", is_view=True)
        both = [house.instance("one"), other]
        await house.plugins.open_all(tasks, both)
        house.dies.release()
        await until(lambda: house.log.count("open one") == 2, what="it opens again")
        await until(
            lambda: all(gate.is_taking() for gate in house.gates.values()),
            what="both take events",
        )
        assert await house.page() == b"other"
        await house.plugins.close_all()
    assert house.log.count("open other") == 1


async def test_one_that_fails_to_close_harms_nobody(house):
    async with asyncio.TaskGroup() as tasks:
        bad = house.instance("one", closes_badly=True)
        await house.plugins.open_all(tasks, [bad])
        [tried] = house.plugins.exchange(tasks, [house.instance("two")], gone=[])
        async with asyncio.timeout(5.0):
            await tried.wait()
        assert house.gates["ops"].is_taking()
        await house.plugins.close_all()
    assert house.log == ["open one", "closed one", "open two", "closed two"]


async def test_a_stray_cancellation_while_one_opens_is_no_end_of_it(house):
    async with asyncio.TaskGroup() as tasks:
        async with asyncio.timeout(5.0):
            odd = house.instance("one", opens_badly=True)
            await house.plugins.open_all(tasks, [odd])
            await until(house.gates["ops"].is_taking, what="it is opened after all")
        await house.plugins.close_all()
