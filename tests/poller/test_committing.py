"""What is owed to the store while it takes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from structlog.testing import capture_logs

from support.watching import until
from tunewatch.clock import SystemClock
from tunewatch.poller.committing import Committer
from tunewatch.store.records import StoreUnavailable


def committer(**more: Any) -> Committer:
    return Committer(
        journal=None,  # type: ignore[arg-type]
        fence=None,  # type: ignore[arg-type]
        source=None,  # type: ignore[arg-type]
        clock=SystemClock(),
        jitter=lambda: 1.0,
        log=structlog.get_logger(),
        **more,
    )


async def refused() -> None:
    raise StoreUnavailable("the disk is full")


async def taken() -> str:
    return "done"


async def test_who_is_told_to_stop_while_it_waits_keeps_nobody_else_waiting():
    owing = committer()
    with capture_logs() as said:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(owing.owed(refused), name="owed")
            await until(lambda: owing.paused_reason is not None)
            waiting.cancel()
        assert owing.paused_reason == "the disk is full"
        assert await owing.owed(taken) == "done"
    assert owing.paused_reason is None
    told = [line["event"] for line in said]
    assert told == ["poll.waits_for_store", "poll.store_is_back"]
