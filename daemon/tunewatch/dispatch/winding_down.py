"""The end of a run: what is out may come back, what came back is written.

Sends nothing. Knows when it must be over, and not why it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tunewatch.clock import Alarm, Clock
from tunewatch.dispatch.feed import Feed, Flight
from tunewatch.dispatch.groups import Groups
from tunewatch.dispatch.sending import Sender


async def wind_down(
    feeds: Sequence[Feed],
    sender: Sender,
    groups: Groups,
    alarm: Alarm,
    tasks: asyncio.TaskGroup,
    *,
    clock: Clock,
    grace: float,
) -> None:
    """Write what comes back until nothing is out, or the grace is over.

    What is still out then is cancelled, and every mark is written. Raises what the
    ledger raises.
    """
    until = clock.monotonic() + grace
    while True:
        alarm.set_anew()
        concluded = sender.drain()
        is_last = not sender.is_out or clock.monotonic() >= until
        if is_last:
            break
        if not await groups.write([], concluded) and not alarm.has_rung:
            await alarm.rest(until, tasks)
    sender.break_off()
    await sender.farewell()
    await _write_the_last(sender, groups, concluded)
    for feed in feeds:
        feed.flights.clear()
    await groups.write([], [], whole=True)


async def _write_the_last(
    sender: Sender, groups: Groups, concluded: list[Flight]
) -> None:
    while (concluded := [*concluded, *sender.drain()]) or sender.has_landed:
        await groups.write([], concluded)
        concluded = []
