"""`tunewatch audit`: who had what done, newest first."""

from __future__ import annotations

from typing import Any

import click

from tunewatch.api.answers_deliveries import AuditAnswer
from tunewatch.api.asked_deliveries import AuditAsked
from tunewatch.api.reading import Reading
from tunewatch.cli.options import Moment, Where, output_option, where_options
from tunewatch.cli.output import moment, print_data, print_table
from tunewatch.cli.reading import gathered, read

COLUMNS = ("id", "at", "by", "what", "about", "outcome")


@click.command()
@click.option("--by", metavar="WHO", help="Only by this token, address or user.")
@click.option("--what", metavar="DEED", help="Only this, such as pause_plugin.")
@click.option("--about", metavar="NAME", help="Only to this one, such as a plugin.")
@click.option("--since", type=Moment(), help="Not before: 2h ago, or a moment.")
@click.option("--until", type=Moment(), help="Only before that.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--after", type=int, metavar="ID", help="Only those older than this one.")
@output_option
@where_options
def command(
    *,
    since: float | None,
    until: float | None,
    limit: int,
    form: str,
    where: Where,
    **wanted: Any,
) -> None:
    """List who had what done through the API or by a command, newest first."""
    asked = AuditAsked(
        since=None if since is None else int(since),
        before=None if until is None else int(until),
        **wanted,
    )
    found, has_more = read(where, lambda reading: _rows(reading, asked, limit))
    if form == "table":
        print_table(
            COLUMNS,
            [
                (one.id, moment(one.at), one.by, one.what, one.about, one.outcome)
                for one in found
            ],
        )
    else:
        print_data({"data": found, "has_more": has_more}, form)
    if has_more:
        last = found[-1].id
        click.echo(f"there are more: --after {last}, or a higher --limit", err=True)
    if not found:
        click.echo("nothing was asked for", err=True)


async def _rows(
    reading: Reading, asked: AuditAsked, most: int
) -> tuple[list[AuditAnswer], bool]:
    """Return up to so many rows, and whether there are more."""
    found, last = await gathered(reading.audit, asked, most)
    return found, last.has_more
