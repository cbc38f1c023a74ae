"""A receiver that was away while much was committed, and comes back."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from support.dispatching import Desk, gate, until
from tunewatch.plugin import Delivery, Retry

STEP = 0.02
"""s that the clock of the hand is moved by, each time that nothing happens any more."""
STILL = 0.004
"""s of real time without any call or answer after which nothing happens any more."""
AT_ONCE = 50
"""Jobs in one commit."""


@dataclass
class Returning:
    """A sink that notes when each call came, and how many were out then."""

    clock: Any
    is_away: bool = True
    calls: list[float] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    count: int = 0
    out: int = 0

    async def deliver(self, delivery: Delivery) -> None:
        if self.is_away:
            raise Retry("connection refused")
        self.out += 1
        self.calls.append(self.clock.monotonic())
        self.levels.append(self.out)
        # As long as a receiver takes, so that many are out at once.
        await self.clock.sleep(0.02)
        self.out -= 1
        self.count += 1

    @property
    def moves(self) -> int:
        """A number that grows with each call and each answer."""
        return len(self.calls) + self.count

    def most_in_a_second(self) -> int:
        """Return the most calls that any one second saw."""
        calls = self.calls
        return max(
            bisect_left(calls, at + 1.0) - index for index, at in enumerate(calls)
        )


async def commit(d: Desk, *, jobs: int, each: int) -> None:
    """Commit so many messages of so many jobs."""
    for first in range(0, jobs, AT_ONCE):
        some = range(first, min(first + AT_ONCE, jobs))
        await d.tell_all({f"ftjob-{n}": [f"{i}" for i in range(each)] for n in some})


async def come_back(
    d: Desk, *, jobs: int, each: int, rate: float, concurrency: int
) -> Returning:
    """Let a receiver be away while events pile up; return it when it has them all."""
    sink = Returning(d.clock)
    ops = gate(sink, clock=d.clock, rate=rate, concurrency=concurrency)
    async with d.dispatching(ops, within=600.0):
        await d.tell("ftjob-0", "the first to be refused")
        await until(lambda: ops.state().state == "probing")
        await commit(d, jobs=jobs, each=each)
        sink.is_away = False
        while sink.count < jobs * each + 1:
            d.clock.advance(STEP)
            await still(sink)
    return sink


async def still(sink: Returning) -> None:
    """Wait until all is done that can be done at this moment of the hand's clock."""
    moves, since = sink.moves, time.monotonic()
    while time.monotonic() - since < STILL:
        await asyncio.sleep(STILL / 8)
        if sink.moves != moves:
            moves, since = sink.moves, time.monotonic()
