"""Single calls of a plugin as the contract suite makes them, with what must hold.

Knows sinks and reactors by their contract only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any

from tunewatch.plugin import Delivery, Derived, Pause, Reactor, Reject, Retry, Sink

ANSWERED = 20.0
"""s within which every call must have ended."""
_BEAT = 0.005
"""s between two looks at whether the loop is held up."""
_MOMENTS = (0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""s after which a delivery is cancelled, beside after each turn of the loop."""
_TURNS = 30


async def delivered(sink: Sink, delivery: Delivery) -> None:
    """Deliver; anything but success is against the contract."""
    async with asyncio.timeout(ANSWERED):
        await sink.deliver(delivery)


async def delivered_or_rejected(sink: Sink, delivery: Delivery) -> None:
    """Deliver; the event may be refused in the words of the contract."""
    said = await _said(sink, delivery)
    is_of_event = isinstance(said, Reject) or getattr(said, "scope", "") == "lane"
    assert said is None or is_of_event, f"trouble of the receiver: {said}"


async def failed(sink: Sink, delivery: Delivery, secrets: Sequence[str]) -> None:
    """Deliver to a receiver that fails: it must be said, and without a secret."""
    said = await _said(sink, delivery)
    assert said is not None, (
        "the receiver failed, and deliver returned as if it had not"
    )
    assert said.reason, "a failure needs a reason"
    for secret in secrets:
        assert secret not in said.reason, "a secret shows in the reason"


async def _said(sink: Sink, delivery: Delivery) -> Retry | Reject | Pause | None:
    """Return what a sink said in the words of the contract, None if it succeeded."""
    try:
        async with asyncio.timeout(ANSWERED):
            await sink.deliver(delivery)
    except (Retry, Reject, Pause) as said:
        return said
    return None


async def reacted(reactor: Reactor, delivery: Delivery) -> list[Derived]:
    """Return what a reactor concludes."""
    async with asyncio.timeout(ANSWERED):
        return list(await reactor.react(delivery))


async def cancelled_everywhere(sink: Sink, delivery: Delivery) -> None:
    """Cancel one delivery after another, each a little later."""
    for turns in range(_TURNS):
        await _cancelled(sink, delivery, turns=turns, after=0.0)
    for after in _MOMENTS:
        await _cancelled(sink, delivery, turns=1, after=after)


async def _cancelled(
    sink: Sink, delivery: Delivery, *, turns: int, after: float
) -> None:
    async with asyncio.timeout(ANSWERED), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_said(sink, delivery), name="contract.cancelled")
        for _ in range(turns):
            await asyncio.sleep(0)
        if after:
            await asyncio.sleep(after)
        task.cancel()


async def longest_hold(work: Awaitable[Any]) -> float:
    """Return the longest time that work held up the loop, in seconds."""
    held = 0.0
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal held
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(_BEAT)
            held = max(held, time.perf_counter() - before - _BEAT)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch(), name="contract.watch")
        await asyncio.sleep(0)
        try:
            await work
        finally:
            # One more beat, so that the last hold is seen too.
            await asyncio.sleep(0)
            done.set()
    return held
