"""How a dispatcher begins: with what an earlier one left, read from the store.

Reads marks, kept lanes and what lies above the marks; what they mean for the lanes is
said elsewhere. Delivers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy import Connection

from tunewatch.dispatch.feed import Feed
from tunewatch.dispatch.ledger import Ledger
from tunewatch.dispatch.loading import load
from tunewatch.store import resume, waiting
from tunewatch.store.records import Fence


async def start(
    ledger: Ledger,
    feeds: Sequence[Feed],
    *,
    fence: Fence,
    at: float,
    running: Sequence[str] = (),
) -> int:
    """Give the feeds their marks and lanes; return the newest position they know of.

    `running` are the plugins that the dispatcher feeds already. Raises what the ledger
    raises.
    """
    plugins = [
        resume.Configured(feed.name, feed.gate.instance.digest) for feed in feeds
    ]

    def take_up(_again: bool) -> Callable[[Connection], resume.Resumed]:
        return partial(
            resume.take_up, fence=fence, plugins=plugins, at=at, running=running
        )

    found = await ledger.write(take_up)
    seen = await ledger.read(partial(waiting.newest, source_id=fence.source_id))
    pending: dict[int, list[waiting.Pending]] = {}
    for mark in {one.mark.position for one in found.plugins.values()}:
        pending[mark] = await _pending(ledger, fence.source_id, after=mark, upto=seen)
    for feed in feeds:
        mine = found.plugins[feed.name]
        feed.gate.adopt(mine.plugin)
        load(feed, mine, pending[mine.mark.position], found.suspects, seen=seen)
    return seen


async def _pending(
    ledger: Ledger, source_id: int, *, after: int, upto: int
) -> list[waiting.Pending]:
    parts: list[waiting.Pending] = []
    for begin in range(after, upto, waiting.PART):
        parts += await ledger.read(
            partial(
                waiting.pending,
                source_id=source_id,
                after=begin,
                upto=min(begin + waiting.PART, upto),
            )
        )
    return waiting.merged(parts)
