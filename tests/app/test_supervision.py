"""Loops that end are started again, and each trouble is said for what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from tunewatch.app.supervision import STORE_AGAIN, restarted
from tunewatch.store.records import StoreBroken, StoreUnavailable

AWAY = StoreUnavailable("cannot reach PostgreSQL at example: ConnectionRefusedError")


@dataclass(slots=True)
class SkippingClock:
    """A clock on which waiting takes no time."""

    at: float = 0.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds
        await asyncio.sleep(0)


@dataclass(slots=True)
class Supervised:
    """A loop that ends as told, one end after the other."""

    ends: Iterator[Exception | None]
    clock: SkippingClock = field(default_factory=SkippingClock)
    said: list[str | None] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def loop(self) -> None:
        end = next(self.ends, None)
        if end is None:
            self.stop.set()
            return
        raise end

    async def run(self) -> list[dict[str, object]]:
        """Supervise until the loop has ended in every way; return what was logged."""
        with capture_logs() as logs:
            await restarted(
                "terms:a",
                self.loop,
                stop=self.stop,
                clock=self.clock,
                jitter=lambda: 0.5,
                died=self.said.append,
            )
        return [dict(line) for line in logs]

    @property
    def reasons(self) -> list[str]:
        return [reason for reason in self.said if reason is not None]


async def test_a_store_that_is_away_is_waited_for_and_said_once():
    grouped = ExceptionGroup("term", [AWAY, ExceptionGroup("inner", [AWAY])])
    supervised = Supervised(iter([AWAY, grouped, *[AWAY] * 8]))
    logs = await supervised.run()
    assert [line["event"] for line in logs] == ["loop.waits_for_store"]
    assert set(supervised.reasons) == {f"it waits for the store: {AWAY.reason}"}
    # However long it was away, it is not kept waiting once the store is back.
    assert supervised.clock.slept == [pytest.approx(STORE_AGAIN)] * 10
    assert supervised.said[-1] is None


async def test_a_fault_beside_the_stores_is_told_as_a_death():
    mixed = ExceptionGroup("term", [AWAY, ZeroDivisionError("ours")])
    supervised = Supervised(iter([mixed]))
    [died] = await supervised.run()
    assert (died["event"], died["log_level"]) == ("loop.died", "error")
    assert supervised.reasons == ["its loop died: ExceptionGroup"]


async def test_a_store_that_goes_again_is_said_again():
    supervised = Supervised(iter([AWAY, ValueError("ours"), AWAY]))
    logs = await supervised.run()
    told = [line["event"] for line in logs]
    assert told == ["loop.waits_for_store", "loop.died", "loop.waits_for_store"]


async def test_loops_that_keep_dying_are_started_ever_more_rarely():
    supervised = Supervised(iter(ValueError("ours") for _ in range(20)))
    await supervised.run()
    waits = supervised.clock.slept
    assert waits == sorted(waits)
    assert waits[0] <= 2
    assert 100 < waits[-1] <= 330


async def test_a_disk_that_failed_ends_the_process():
    broken = StoreBroken("the disk failed")
    supervised = Supervised(iter([ExceptionGroup("term", [AWAY, broken])]))
    with pytest.raises(StoreBroken):
        await supervised.run()
