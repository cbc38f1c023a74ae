"""`tunewatch redeliver`: events again, by a running daemon, in lanes of their own.

What is meant is made out here; asking and waiting are told in `redelivering`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import click

from tunewatch.api.asked_deliveries import RedeliverBody
from tunewatch.cli.options import (
    Moment,
    Where,
    output_option,
    source_option,
    where_options,
)

RANGE = frozenset(
    {"plugin", "source", "job", "types", "since", "until", "first", "last", "missed"}
)
GOES_WITH = {
    "events": frozenset({"plugin"}),
    "letters": frozenset[str](),
    "dead": RANGE - {"first", "last", "missed"},
}
"""What narrows down each way to choose; without any of them a range is meant."""
SPELLED = {"letters": "--letter", "types": "--type", "events": "an event"}


@click.command()
@click.argument("events", nargs=-1, metavar="[EVENT]...")
@click.option("--letter", "letters", type=int, multiple=True, help="A dead letter.")
@click.option("--dead", is_flag=True, help="All open dead letters.")
@click.option("--missed", is_flag=True, help="What came before the plugin was there.")
@click.option("--plugin", metavar="NAME", help="Only to this plugin.")
@source_option
@click.option("--job", metavar="JOB", help="Only events of this job.")
@click.option("--type", "types", multiple=True, help="Only types, globs or @groups.")
@click.option("--since", type=Moment(), help="Committed then or later; 2h is ago.")
@click.option("--until", type=Moment(), help="And before that.")
@click.option("--first", type=int, metavar="POSITION", help="From this position on.")
@click.option("--last", type=int, metavar="POSITION", help="Up to this position.")
@click.option("--dry-run", is_flag=True, help="Say what would go out, do nothing.")
@click.option("--wait/--no-wait", default=True, help="Whether to wait for its end.")
@click.option("--cancel", type=int, metavar="ID", help="Take a redelivery back.")
@click.option("--list", "listed", is_flag=True, help="List what was asked for lately.")
@output_option
@where_options
def command(
    *,
    dry_run: bool,
    wait: bool,
    cancel: int | None,
    listed: bool,
    form: str,
    where: Where,
    **asked: Any,
) -> int:
    """Deliver events again, with the same id and bytes.

    Name events or dead letters, say --dead for all that are open (--since and --until
    are then when they became that), or a range of what one plugin is subscribed to.
    """
    from tunewatch.cli import redelivering

    if listed:
        return asyncio.run(redelivering.show_recent(where, form))
    if cancel is not None:
        return asyncio.run(redelivering.cancel(where, cancel))
    body = meant(asked)
    if dry_run:
        return asyncio.run(redelivering.show_plan(where, body, form))
    return asyncio.run(redelivering.ask(where, body, form=form, wait=wait))


def meant(asked: dict[str, Any]) -> RedeliverBody:
    """Return what is meant. Raises UsageError for what does not go together."""
    given = {name for name, value in asked.items() if value not in (None, False, ())}
    ways = sorted(given & GOES_WITH.keys())
    if len(ways) > 1:
        names = " and ".join(map(_spelled, ways))
        raise click.UsageError(f"{names} do not go together")
    way = ways[0] if ways else None
    fits = RANGE if way is None else GOES_WITH[way]
    for name in sorted(given - fits - {way}):
        raise click.UsageError(f"{_spelled(name)} does not go with {_spelled(way)}")
    if way is None and not given - {"plugin", "source", "job", "types"}:
        raise click.UsageError(
            "nothing is chosen: name events, or say --letter ID, --dead, or --plugin "
            "NAME with --since, --until, --first, --last or --missed"
        )
    if way is None and asked["plugin"] is None:
        raise click.UsageError("a range is of one plugin: say which with --plugin")
    _check_types(asked["types"])
    asked["before"] = asked.pop("until")
    for name in ("since", "before"):
        asked[name] = None if asked[name] is None else int(asked[name])
    return RedeliverBody(**asked)


def _check_types(types: tuple[str, ...]) -> None:
    from tunewatch.events import matcher

    try:
        matcher(types)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _spelled(name: str | None) -> str:
    return SPELLED.get(name or "", f"--{name}")
