"""Events as they are committed, from the store or from a daemon, over restarts of it.

What was had last is where it goes on: nothing is left out and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from msgspec.structs import replace

from tunewatch.api.asked import EventsAsked, StreamAsked
from tunewatch.cli.options import Where
from tunewatch.cli.reading import opened

EVERY = 0.5
"""s between looks at a store: only the daemon itself is told of commits."""
AGAIN = 2.0
"""s until a store or a daemon that is away is asked again."""

Say = Callable[[str], None]
"""Tells a person what is going on beside the events."""


async def followed(
    where: Where, asked: EventsAsked, after: str, say: Say
) -> AsyncGenerator[bytes, None]:
    """Yield the bodies of events behind one, without end.

    Raises what keeps it from beginning: Quit, NotAnswered, StoreFault.
    """
    events = _from_store if where.url is None else _from_daemon
    async with aclosing(events(where, asked, after, say)) as bodies:
        async for body in bodies:
            yield body


async def _from_store(
    where: Where, asked: EventsAsked, after: str, say: Say
) -> AsyncGenerator[bytes, None]:
    from tunewatch.store.records import StoreUnavailable

    asked = replace(asked, after=after, order="asc", limit=200)
    trouble = _Trouble(say)
    while True:
        try:
            async with opened(where) as reading:
                while True:
                    page = await reading.events(asked)
                    trouble.is_over()
                    for body in page.data:
                        yield bytes(body)
                    asked = replace(asked, after=page.next or asked.after)
                    if not page.has_more:
                        await asyncio.sleep(EVERY)
        except StoreUnavailable as fault:
            trouble.has_begun(fault.reason)
            await asyncio.sleep(AGAIN)


async def _from_daemon(
    where: Where, asked: EventsAsked, after: str, say: Say
) -> AsyncGenerator[bytes, None]:
    # Here, not above: who reads the store has no need of an HTTP client.
    from tunewatch.cli.remote import remote
    from tunewatch.cli.sse import blocks
    from tunewatch.cli.wire import Unreachable

    wanted = StreamAsked(
        source=asked.source, job=asked.job, type=asked.type, after=after
    )
    trouble, last, has_begun = _Trouble(say), None, False
    async with remote(where, os.environ) as daemon:
        while True:
            try:
                async with daemon.stream(wanted, last=last) as pieces:
                    has_begun = True
                    trouble.is_over()
                    async for block in blocks(pieces):
                        last = block.id or last
                        if block.event == "reset":
                            say(f"some events may be missing here: {block.data}")
                        elif block.data:
                            yield block.data.encode()
                trouble.has_begun(f"{daemon.url} ended the stream")
            except Unreachable as fault:
                if not has_begun:
                    raise
                trouble.has_begun(fault.reason)
            await asyncio.sleep(AGAIN)


class _Trouble:
    """Said once when it begins and once when it is over."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._is_on = False

    def has_begun(self, reason: str) -> None:
        if not self._is_on:
            self._say(f"waiting: {reason}")
        self._is_on = True

    def is_over(self) -> None:
        if self._is_on:
            self._say("going on")
        self._is_on = False
