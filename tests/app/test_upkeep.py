"""What is done now and then: the delivery log is kept within its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import insert

from support.dispatching import Desk, desk, until
from tunewatch.app.conditions import Conditions
from tunewatch.app.leasing import Leasing
from tunewatch.app.lives import Lives
from tunewatch.app.measures import Measures
from tunewatch.app.parts import Parts
from tunewatch.app.store_presence import StorePresence
from tunewatch.app.upkeep import FORGET_EVERY, LogBounds, Upkeep
from tunewatch.sources.contract import Call
from tunewatch.store.schema import attempt
from tunewatch.telemetry import Telemetry

DAY = 86_400.0


async def log_calls(d: Desk, count: int, *, every: float) -> None:
    """Log so many calls, the last of them now."""
    call = {"plugin": "ops", "source_id": 1, "job_key": 1, "event_id": "evt_1"}
    call |= {"number": 1, "seconds": 0.1, "outcome": "accepted"}
    now = d.clock.now()
    rows = [
        call | {"position": n, "at": now - (count - 1 - n) * every}
        for n in range(count)
    ]
    await d.store.carrier.write(lambda c: c.execute(insert(attempt), rows))


@asynccontextmanager
async def forgetting(d: Desk, measures: Measures, bounds: LogBounds) -> AsyncIterator:
    """Run the loop that forgets, until the block ends."""
    parts = Parts(
        store=d.store,
        leasing=Leasing(leases=d.store.leases, clock=d.clock),
        gates={},
        measures=measures,
        clock=d.clock,
        jitter=lambda: 0.0,
        grace=0.0,
    )
    conditions = Conditions(gates={}, states=d.store.plugin_states, clock=d.clock)
    upkeep = Upkeep(
        parts=parts,
        lives=Lives(clock=d.clock, jitter=lambda: 0.0),
        telemetry=Telemetry(version="0"),
        retention=90 * DAY,
        log=bounds,
        conditions=conditions,
        presence=StorePresence(),
        file=None,
    )
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(upkeep.forget(), name="forget")
        await asyncio.sleep(0)
        yield
        loop.cancel()


async def kept(d: Desk) -> int:
    count: int = await d.one("SELECT count(*) FROM attempt")
    return count


async def goes_down_to(d: Desk, count: int) -> None:
    async with asyncio.timeout(20):
        while True:
            if await kept(d) == count:
                return
            await asyncio.sleep(0.01)


async def test_the_log_is_kept_within_its_rows_whatever_the_clock_says(store_url):
    async with desk(store_url) as d:
        await log_calls(d, 1500, every=DAY)
        measures = Measures(Telemetry(version="0"))
        async with forgetting(d, measures, LogBounds(age=30 * DAY, rows=1000)):
            await until(lambda: d.clock.advance(FORGET_EVERY))
            await goes_down_to(d, 1000)
            # As soon as a provider's clock agrees with ours, age counts too.
            call = Call(endpoint="jobs", seconds=0.1, outcome="ok", clock_offset=1.0)
            measures.called("research", call)
            await until(lambda: d.clock.advance(FORGET_EVERY))
            await goes_down_to(d, 30)
