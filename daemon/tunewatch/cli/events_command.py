"""`tunewatch events [JOB]`: what happened, and with --follow what happens."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import NamedTuple

import click
from msgspec.structs import replace

from tunewatch.api.asked import MOST, EventsAsked, OneJobAsked
from tunewatch.api.reading import Reading
from tunewatch.cli.event_printing import Printer
from tunewatch.cli.following import followed
from tunewatch.cli.options import (
    Moment,
    Where,
    output_option,
    source_option,
    where_options,
)
from tunewatch.cli.reading import expect_source, opened
from tunewatch.events import decode

NEWEST = 50
"""Events that are shown where nobody says since when."""
UNLIMITED = 10**9


@click.command()
@click.argument("job", required=False)
@click.option(
    "--follow", "-f", is_flag=True, help="Go on with what happens; Ctrl-C ends."
)
@click.option(
    "--type",
    "types",
    multiple=True,
    help="Only these: types, globs such as 'tunewatch.job.*', groups such as "
    "@terminal; can be repeated.",
)
@source_option
@click.option(
    "--since",
    type=Moment(),
    help="From then on: 2h (ago), 30d, 2026-01-31, 2026-01-31T12:00:00Z.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"The newest so many; with --since the first. Default {NEWEST}, with --since "
    "all.",
)
@output_option
@where_options
def command(
    *,
    job: str | None,
    follow: bool,
    types: tuple[str, ...],
    source: str | None,
    since: float | None,
    limit: int | None,
    form: str,
    where: Where,
) -> None:
    """Show events, the oldest first; with --follow also those to come.

    `-o json --follow` prints one event a line.
    """
    asked = EventsAsked(
        job=job,
        source=source,
        type=tuple(part for text in types for part in text.split(",") if part),
        since=None if since is None else max(0, int(since)),
    )
    printer = Printer(form, follow=follow)
    if limit is None:
        limit = NEWEST if since is None else UNLIMITED
    asyncio.run(_run(where, asked, limit, printer, follow=follow))


async def _run(
    where: Where, asked: EventsAsked, limit: int, printer: Printer, *, follow: bool
) -> None:
    async with opened(where) as reading:
        if asked.job is not None:
            await reading.job(asked.job, OneJobAsked(source=asked.source))
        first = await (_newest if asked.since is None else _since)(
            reading, asked, limit
        )
        if not first.bodies:
            await expect_source(reading, asked.source)
    printer.first(first.bodies, has_more=first.has_more)
    if first.has_more and not follow:
        _say("there are more: a higher --limit, or --since")
    if follow:
        async with aclosing(followed(where, asked, first.after, _say)) as bodies:
            async for body in bodies:
                printer.more(body)


class _First(NamedTuple):
    """What there is already, the oldest first, and behind what it goes on."""

    bodies: list[bytes]
    has_more: bool
    after: str


async def _newest(reading: Reading, asked: EventsAsked, limit: int) -> _First:
    # The end of the log first: what comes while the rest is read is behind it.
    (*_, after) = ("0", *await _ids(reading, EventsAsked(order="desc", limit=1)))
    found, has_more, _ = await _some(reading, replace(asked, order="desc"), limit)
    if found:
        after = decode(found[0]).id
    return _First(found[::-1], has_more, after)


async def _since(reading: Reading, asked: EventsAsked, limit: int) -> _First:
    found, has_more, following = await _some(reading, asked, limit)
    return _First(found, has_more, following or "0")


async def _ids(reading: Reading, asked: EventsAsked) -> list[str]:
    return [decode(bytes(body)).id for body in (await reading.events(asked)).data]


async def _some(
    reading: Reading, asked: EventsAsked, limit: int
) -> tuple[list[bytes], bool, str | None]:
    """Return up to so many events, whether there are more, and where to go on."""
    found: list[bytes] = []
    while True:
        few = replace(asked, limit=min(limit - len(found), MOST))
        page = await reading.events(few)
        found += map(bytes, page.data)
        if not page.has_more or len(found) >= limit:
            return found, page.has_more, page.next
        asked = replace(asked, after=page.next)


def _say(text: str) -> None:
    click.echo(f"tunewatch: {text}", err=True)
