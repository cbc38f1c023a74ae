"""Ask for a command: the store, beside a running daemon or without one, or a daemon.

Both are `api.Reading`: no command knows which of them it asks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tunewatch.api.answers import JobAnswer
from tunewatch.api.asked import MOST, JobsAsked
from tunewatch.api.reading import Reading
from tunewatch.cli.exits import USAGE, Quit
from tunewatch.cli.options import Where
from tunewatch.settings import hint

T = TypeVar("T")
AskedT = TypeVar("AskedT", bound=Struct)


class Page(Protocol):
    """A page of an answer, see `answers.Listed`."""

    @property
    def data(self) -> Sequence[Any]:
        """Its items."""
        ...

    @property
    def next(self) -> str | None:
        """Where to go on, None at the end."""
        ...


PageT = TypeVar("PageT", bound=Page)


def read(where: Where, ask: Callable[[Reading], Awaitable[T]]) -> T:
    """Return what a question is answered.

    Raises StoreFault, NotAnswered, and Quit if a daemon cannot be asked.
    """

    async def answered() -> T:
        async with opened(where) as reading:
            return await ask(reading)

    return asyncio.run(answered())


@asynccontextmanager
async def opened(where: Where) -> AsyncIterator[Reading]:
    """Open whom to ask."""
    if where.url is not None:
        # Here, not above: who reads the store has no need of an HTTP client.
        from tunewatch.cli.remote import remote

        async with remote(where, os.environ) as asked:
            yield asked
        return
    from tunewatch.api.stored import Stored
    from tunewatch.cli.settings import load_daemon
    from tunewatch.clock import SystemClock
    from tunewatch.store.reading import open_to_read
    from tunewatch.store.reads import Reader
    from tunewatch.store.redelivering import Redeliver

    daemon = load_daemon(where.config)
    password = None if daemon.password is None else daemon.password.get
    async with open_to_read(daemon.state, password=password) as carrier:
        yield Stored(Reader(carrier), Redeliver(carrier, clock=SystemClock()))


async def some_jobs(
    reading: Reading, asked: JobsAsked, most: int
) -> tuple[list[JobAnswer], str | None]:
    """Return up to so many jobs, and where to go on if there are more."""
    found, last = await gathered(reading.jobs, asked, most, place=str)
    return found, last.next


async def gathered(
    ask: Callable[[AskedT], Awaitable[PageT]],
    asked: AskedT,
    most: int,
    *,
    place: Callable[[str], str | int] = int,
) -> tuple[list[Any], PageT]:
    """Return up to so many items, and the page that the last of them stands on.

    A page may be short although there are more: it is gone on until there are enough.
    `place` makes of a page's `next` what is asked with.
    """
    found: list[Any] = []
    while True:
        page = await ask(replace(asked, limit=min(most - len(found), MOST)))
        found += page.data
        if page.next is None or len(found) == most:
            return found, page
        asked = replace(asked, after=place(page.next))


async def expect_source(reading: Reading, name: str | None) -> None:
    """Raise Quit for a source that there is not: nothing is no answer then.

    To be asked when nothing was found, so that an answer costs no second question.
    """
    if name is not None:
        known = [one.name for one in (await reading.sources()).data]
        if name not in known:
            hinted = hint(name, known, otherwise="known are")
            raise Quit(USAGE, f"there is no source {name}; {hinted}")
