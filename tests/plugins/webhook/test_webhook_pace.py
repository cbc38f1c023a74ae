"""How a receiver that returns to a heap of waiting events finds them coming in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from support.dispatching import Desk, desk, gate, quiet, until
from support.receiver_server import Post, Receiver, receiver
from support.webhook_opening import Lent, opened
from tunewatch.dispatch import Dispatcher, Gate

JOBS, EACH = 200, 50
CONCURRENCY = 8
STEP = 0.02  #: s


@dataclass
class Heap:
    """Ten thousand events of two hundred jobs, and a receiver that was away."""

    desk: Desk
    receiver: Receiver
    gate: Gate
    dispatcher: Dispatcher
    came: list[float] = field(default_factory=list)  #: when, by the clock of the test
    is_down: bool = True

    def respond(self, _post: Post) -> web.StreamResponse:
        self.came.append(self.desk.clock.monotonic())
        return web.Response(status=503 if self.is_down else 204)

    async def returns(self) -> None:
        """Let the receiver be there again when it is next asked."""
        await quiet(self.dispatcher)
        self.is_down = False
        self.came.clear()

    async def passes(self, seconds: float) -> None:
        """Let time pass step by step, each with all that it sets free."""
        for _ in range(round(seconds / STEP)):
            self.desk.clock.advance(STEP)
            await asyncio.sleep(0.002)  # the store writes in a thread, in real time
            await until(lambda: not self.gate.state().in_flight)

    def most_within(self, seconds: float) -> int:
        """Return how many came at most in any such stretch of time."""
        return max(
            sum(begin <= at < begin + seconds for at in self.came)
            for begin in self.came
        )


@asynccontextmanager
async def heaped(path: Path, *, rate: float | None) -> AsyncIterator[Heap]:
    async with desk(f"sqlite:///{path / 'state.db'}") as d, receiver() as got:
        lent = Lent(clock=d.clock)
        async with opened({"url": got.url()}, lent=lent) as webhook:
            ops = gate(webhook, clock=d.clock, concurrency=CONCURRENCY, rate=rate)
            async with d.dispatching(ops) as dispatcher:
                heap = Heap(d, got, ops, dispatcher)
                got.respond = heap.respond
                await d.tell("ftjob-0", "the first")
                await until(lambda: not ops.is_taking(), "it is known to be away")
                for begin in range(0, EACH, 10):
                    messages = [str(n) for n in range(begin, begin + 10)]
                    await d.tell_all({f"ftjob-{j}": messages for j in range(JOBS)})
                yield heap


async def test_the_limit_a_second_holds_while_a_heap_of_events_goes_out(
    tmp_path: Path,
):
    async with heaped(tmp_path, rate=10.0) as heap:
        await heap.returns()
        await heap.passes(20.0)
        assert heap.most_within(1.0) <= 10
        # The clock runs ahead of the machine: half of what may go out is enough.
        assert len(heap.came) >= 10.0 * (20.0 - 5.0) / 2
        assert len(heap.receiver.peers) <= CONCURRENCY


async def test_whoever_returns_is_not_run_down_by_what_waited(tmp_path: Path):
    async with heaped(tmp_path, rate=None) as heap:
        most = []

        def respond(post: Post) -> web.StreamResponse:
            most.append(heap.gate.state().in_flight)
            return heap.respond(post)

        heap.receiver.respond = respond
        await heap.returns()
        heap.desk.clock.advance(6.0)
        await until(lambda: len(heap.came) >= 1000, "a good part came")
        # One probe, then one at a time, two, four, eight.
        assert most[:2] == [1, 1]
        assert max(most) == CONCURRENCY
        assert len(heap.receiver.peers) <= CONCURRENCY
